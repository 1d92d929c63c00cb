//! What a word was probably meant to be, for messages that name it.

/// The names that a word was probably meant to be: all that are equally near, none that is far. Where the whole word is
/// near to none, its first parts may be: `window-size` is near `window`.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let names: Vec<&str> = names.into_iter().collect();
    let mut start = word;
    loop {
        let near = nearest_to_all_of(start, &names);
        match start.rsplit_once(['-', '_']) {
            Some((shorter, _)) if near.is_empty() => start = shorter,
            _ => return near,
        }
    }
}

/// `did you mean a or b?`, if something is near.
pub fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = nearest(word, names);
    (!near.is_empty()).then(|| format!("did you mean {}?", any_of(&near)))
}

/// `a, b or c`.
pub fn any_of<S: AsRef<str>>(words: &[S]) -> String {
    joined(words, "or")
}

/// `a, b and c`.
pub fn all_of<S: AsRef<str>>(words: &[S]) -> String {
    joined(words, "and")
}

fn joined<S: AsRef<str>>(words: &[S], last: &str) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match &words[..] {
        [words @ .., end] if !words.is_empty() => format!("{} {last} {end}", words.join(", ")),
        words => words.concat(),
    }
}

fn nearest_to_all_of<'a>(word: &str, names: &[&'a str]) -> Vec<&'a str> {
    let names: Vec<(usize, &str)> = names.iter().map(|name| (distance(word, name), *name)).collect();
    let least = names.iter().map(|(distance, _)| *distance).min().unwrap_or(usize::MAX);
    let limit = 1 + word.len() / 4;
    let mut near: Vec<&str> = Vec::new();
    for (distance, name) in names {
        // A word that has to be changed in every letter is another word.
        if distance == least && distance <= limit && distance < word.len() && !near.contains(&name) {
            near.push(name);
        }
    }
    near
}

/// How far a word is from a name: letters to change, add, leave out or exchange. The start of a name is near it.
fn distance(word: &str, name: &str) -> usize {
    let shape = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    let (word, name) = (shape(word), shape(name));
    match word == name {
        true => 0,
        false if word.len() >= 3 && name.starts_with(&word) => 1,
        false => strsim::osa_distance(&word, &name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_near_to_its_misspellings_its_starts_and_its_parts_and_to_nothing_far() {
        let names = ["window", "windows", "model", "models", "output", "esm", "viral-share", "batch-tokens"];
        for (word, near) in [
            ("windw", &["window"][..]),
            ("windows", &["windows"]),
            ("WINDOWS_SIZE", &["windows"]),
            ("window-size", &["window"]),
            ("viral_share", &["viral-share"]),
            ("batch", &["batch-tokens"]),
            ("batch-size", &["batch-tokens"]),
            ("in", &[]),
            ("name", &[]),
            ("print-config", &[]),
            ("x", &[]),
            ("", &[]),
        ] {
            assert_eq!(nearest(word, names), near, "{word}");
        }
        assert_eq!(nearest("mod", names), ["model", "models"]);
        assert_eq!(did_you_mean("modl", names).as_deref(), Some("did you mean model?"));
        assert_eq!(did_you_mean("frobnicate", names), None);
    }
}
