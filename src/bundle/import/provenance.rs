//! Licence and source of a bundle, put together from those of its models.

use crate::bundle::Component;
use crate::weights::Weights;

const NOT_STATED: &str = "not stated";

/// Licence or source of a bundle: that of its models, once where they agree; else at most 250 bytes of each, so that
/// they fit into one field together.
pub(super) fn of_all(models: [(Component, Option<&str>); 3]) -> String {
    let stated = |text: Option<&str>| text.unwrap_or(NOT_STATED).to_owned();
    match models {
        [(_, first), (_, second), (_, third)] if first == second && second == third => stated(first),
        models => models.map(|(model, text)| format!("{}: {}", model.key(), one_line(&stated(text)))).join("; "),
    }
}

/// Takes the text of one model out of what [`of_all`] gave.
pub(super) fn of_component(all: &str, component: Component) -> Option<String> {
    let pieces: Vec<_> = all.split("; ").collect();
    let of = |model: Component| pieces.iter().find_map(|piece| piece.strip_prefix(&format!("{}: ", model.key())));
    let several = pieces.len() == 3 && of(Component::Dnabert).is_some() && of(Component::Esm).is_some();
    let own = if several { of(component) } else { None };
    Some(own.unwrap_or(all).to_owned()).filter(|text| text != NOT_STATED)
}

/// The licence that a hub's README.md beside the weights file states in its first lines.
pub(super) fn stated_licence(weights: &Weights) -> Option<String> {
    let readme = weights.read_beside("README.md").ok()??;
    let text = String::from_utf8_lossy(readme.get(..readme.len().min(64 << 10))?).into_owned();
    licence_in(&text)
}

fn licence_in(readme: &str) -> Option<String> {
    let mut lines = readme.trim_start_matches('\u{feff}').lines();
    if lines.next()?.trim_end() != "---" {
        return None;
    }
    let front: Vec<_> = lines.map(str::trim_end).take_while(|line| *line != "---").collect();
    let value = |key: &str| {
        let value = front.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let value = value.split(" #").next()?.trim().trim_matches(['"', '\'']);
        Some(one_line(value)).filter(|value| !value.is_empty())
    };
    // A licence that the hub does not know is given as "other", with its name beside it.
    value("license")
        .and_then(|licence| if licence == "other" { value("license_name").or(Some(licence)) } else { Some(licence) })
}

/// Text as a bundle.yaml may hold it, at most 250 bytes.
pub(super) fn one_line(text: &str) -> String {
    const MOST: usize = 250;
    let mut line = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if line.len() + c.len_utf8() > MOST {
            break;
        }
        line.push(c);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use Component::{Dnabert, Esm, Head};

    #[test]
    fn a_licence_is_read_from_the_first_lines_of_a_readme() {
        for (readme, licence) in [
            ("---\nlicense: mit\n---\n# ESM-2", Some("mit")),
            ("\u{feff}---\r\ntags:\r\n- x\r\nlicense: \"apache-2.0\" # yes\r\n---\r\n", Some("apache-2.0")),
            ("---\nlicense: other\nlicense_name: my-own\n---\n", Some("my-own")),
            ("---\nlicense: other\n---\n", Some("other")),
            ("---\nlicense:\n- mit\n---\n", None),
            ("---\ntags: [x]\n---\nlicense: mit\n", None),
            ("# No front matter\nlicense: mit\n", None),
            ("", None),
        ] {
            assert_eq!(licence_in(readme).as_deref(), licence, "{readme:?}");
        }
        let long = format!("---\nlicense: {}\u{1b}[0m\n---", "é".repeat(900));
        assert_eq!(licence_in(&long).map(|licence| licence.len()), Some(250));
    }

    #[test]
    fn what_models_agree_on_is_said_once_and_else_for_each() {
        let models = |d, e, h| of_all([(Dnabert, d), (Esm, e), (Head, h)]);
        assert_eq!(models(Some("MIT"), Some("MIT"), Some("MIT")), "MIT");
        assert_eq!(models(None, None, None), "not stated");
        let all = models(Some("a; b: c"), Some("mit"), None);
        assert_eq!(all, "dnabert: a; b: c; esm: mit; head: not stated");
        let long = "x".repeat(900);
        let all = models(Some(&long), Some(&long), Some("mit"));
        assert!(all.len() < 1000 && all.ends_with("; head: mit"), "{}", all.len());
        let all = models(Some("apache-2.0"), Some("mit"), None);
        assert_eq!(of_component(&all, Esm).as_deref(), Some("mit"));
        assert_eq!(of_component(&all, Head), None);
        assert_eq!(of_component("MIT", Head).as_deref(), Some("MIT"));
        assert_eq!(of_component("a; b; c", Head).as_deref(), Some("a; b; c"));
    }
}
