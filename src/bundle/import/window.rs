//! The window length a head was trained on. Its file does not hold it.

use std::path::Path;

use crate::error::{Error, Fault, Result};

/// The window length where nothing tells another.
pub const DEFAULT: u32 = 500;

/// The window length of the bundle: the one asked for, else the one `known` of the head, else 500. What is known for
/// sure is never contradicted, and neither is a file name with 300 or 500 in it.
///
/// # Errors
/// [`Fault::ModelMismatch`].
pub(super) fn choose(asked: Option<u32>, known: Option<u32>, head: &Path) -> Result<u32> {
    let refused = |message: &str| Error::new(Fault::ModelMismatch, message).file(head);
    let window = asked.or(known).unwrap_or(DEFAULT);
    match (known, named(head)) {
        (Some(known), _) if known != window => Err(refused("the head was trained on windows of another length")
            .expected(format!("--window {known}, which is what this head is known for"))
            .found(format!("--window {window}"))
            .advice(format!("leave out --window, or take the head for windows of {window} bases"))),
        (None, Some(named)) if named != window => {
            let (found, advice) = match asked {
                None => (
                    format!("windows of {window} bases, which is what holds without --window"),
                    format!("say --window {named} if this head was trained on windows of {named} bases"),
                ),
                Some(_) => (
                    format!("--window {window}"),
                    "take the head that belongs to the window; if the name is wrong, give the file another name"
                        .to_owned(),
                ),
            };
            Err(refused("the name of the head says another window")
                .expected(format!("windows of {named} bases, as the file is named"))
                .found(found)
                .advice(advice))
        }
        _ => Ok(window),
    }
}

/// The window that a file name tells: 300 or 500 as a number of its own, not both.
fn named(head: &Path) -> Option<u32> {
    let name = head.file_name()?.to_string_lossy().into_owned();
    let has = |window: &str| name.split(|c: char| !c.is_ascii_digit()).any(|number| number == window);
    match (has("300"), has("500")) {
        (true, false) => Some(300),
        (false, true) => Some(500),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_comes_from_the_user_the_head_or_is_500() {
        let choose = |asked, known, name: &str| choose(asked, known, Path::new(name));
        for (asked, known, name, window) in [
            (None, None, "head.pth", 500),
            (None, None, "500_model.pth", 500),
            (None, Some(300), "500_model.pth", 300),
            (Some(300), None, "300_model.pth", 300),
            (Some(300), Some(300), "x", 300),
            (Some(300), None, "1500_v300x500.pth", 300),
            (Some(450), None, "head3000.pth", 450),
            (Some(500), None, "folder/300/head.pth", 500),
        ] {
            assert_eq!(choose(asked, known, name).unwrap(), window, "{asked:?} {known:?} {name}");
        }
        for (asked, known, name, advice) in [
            (None, None, "300_model.pth", "say --window 300"),
            (Some(500), None, "300_model.pth", "another name"),
            (Some(300), None, "500_model.safetensors", "another name"),
            (Some(400), None, "model-500.pth", "another name"),
            (Some(500), Some(300), "head.pth", "leave out --window"),
        ] {
            let error = choose(asked, known, name).unwrap_err();
            assert_eq!((error.fault(), error.path()), (Fault::ModelMismatch, Some(Path::new(name))));
            assert!(error.report("import").contains(advice), "{}", error.report("import"));
        }
    }
}
