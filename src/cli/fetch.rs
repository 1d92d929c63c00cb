//! Arguments of `models fetch`.

use std::time::Duration;

use clap::Args;

/// `models fetch`.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// Names of the list, or organisation/name of the hub; @REV may follow
    #[arg(value_name = "NAME", conflicts_with = "url")]
    pub names: Vec<String>,
    /// Branch, tag or commit of the repositories; NAME@REV says it of one
    #[arg(long, value_name = "REV", requires = "names", conflicts_with = "url")]
    pub revision: Option<String>,
    /// Address of one file, such as a head of your own
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// SHA-256 digest that the file of --url must have
    #[arg(long, value_name = "HEX", requires = "url")]
    pub sha256: Option<String>,
    /// Ask no server: prove what is there, or say what is missing (as HF_HUB_OFFLINE=1)
    #[arg(long)]
    pub offline: bool,
    /// Seconds that a server may stand still
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = timeout)]
    pub timeout: Duration,
    /// Seconds before the second try; doubled each time, up to five tries
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = wait)]
    pub retry_wait: Duration,
}

fn timeout(text: &str) -> Result<Duration, String> {
    seconds(text, 0.1, 3600.0)
}

fn wait(text: &str) -> Result<Duration, String> {
    seconds(text, 0.0, 60.0)
}

fn seconds(text: &str, least: f64, most: f64) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (least..=most).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("a number of seconds from {least} to {most} is expected")),
    }
}
