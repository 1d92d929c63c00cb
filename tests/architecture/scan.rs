//! Rust sources as tokens: enough to see which paths and calls a file holds, blind to comments, text and test code.

/// A word, a number or a punctuation mark; `::` is one token.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// Its text.
    pub text: &'a str,
    /// Its line, from 1.
    pub line: usize,
}

/// A file without comments, text and test code.
pub struct Source {
    /// Path below `src`.
    pub path: String,
    tokens: Vec<Token<'static>>,
}

impl Source {
    /// Reads the text of a file.
    pub fn parse(path: &str, text: &str) -> Self {
        // Sources live as long as the test: a few hundred kilobytes.
        let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
        Self { path: path.to_owned(), tokens: without_tests(tokens(text)) }
    }

    /// All tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &Token<'static>> {
        self.tokens.iter()
    }

    /// Every four tokens in a row; the last ones are filled with empty text.
    pub fn windows(&self) -> impl Iterator<Item = [Token<'static>; 4]> {
        let at = |i: usize| self.tokens.get(i).copied().unwrap_or(Token { text: "", line: 0 });
        (0..self.tokens.len()).map(move |i| [at(i), at(i + 1), at(i + 2), at(i + 3)])
    }

    /// The top module of the file: `seq` for `seq/fastx.rs`, `error` for `error.rs`.
    pub fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Modules between the crate and this file's items.
    fn depth(&self) -> usize {
        self.path.split('/').count() - usize::from(self.path.ends_with("/mod.rs"))
    }

    /// Paths that start at the crate, as `seq::Reader`, by line; groups in braces taken apart.
    pub fn crate_paths(&self) -> Vec<(usize, String)> {
        let mut paths = Vec::new();
        let mut blocks: Vec<bool> = Vec::new(); // whether a brace opens a module
        let mut i = 0;
        while i < self.tokens.len() {
            let text = self.text(i);
            match text {
                "{" => blocks.push(i >= 2 && self.text(i - 2) == "mod"),
                "}" => drop(blocks.pop()),
                _ => {}
            }
            let starts = i == 0 || self.text(i - 1) != "::";
            let root = match text {
                "crate" if starts && self.text(i + 1) == "::" => Some(i + 2),
                "super" if starts => {
                    let mut end = i;
                    while self.text(end) == "super" && self.text(end + 1) == "::" {
                        end += 2;
                    }
                    let depth = self.depth() + blocks.iter().filter(|module| **module).count();
                    ((end - i) / 2 >= depth).then_some(end)
                }
                _ => None,
            };
            if let Some(root) = root {
                self.tree(root, String::new(), &mut paths);
            }
            i += 1;
        }
        paths
    }

    /// Collects the paths of a tree of `use` that starts at token `i`; gives the token after it.
    fn tree(&self, mut i: usize, mut path: String, paths: &mut Vec<(usize, String)>) -> usize {
        let line = self.tokens.get(i).map_or(0, |token| token.line);
        loop {
            if self.text(i) == "{" {
                i += 1;
                while !["}", ""].contains(&self.text(i)) {
                    i = self.tree(i, path.clone(), paths);
                    if self.text(i) == "," {
                        i += 1;
                    }
                }
                return i + 1;
            }
            if !path.is_empty() {
                path.push_str("::");
            }
            path.push_str(self.text(i));
            if self.text(i + 1) != "::" {
                break;
            }
            i += 2;
        }
        paths.push((line, path));
        i += 1;
        if self.text(i) == "as" { i + 2 } else { i }
    }

    /// Lines where a path starts with the name of a library, or a `use` takes it.
    pub fn uses_of(&self, library: &str) -> Vec<usize> {
        let names = |i: &usize| {
            let (before, after) = (if *i == 0 { "" } else { self.text(i - 1) }, self.text(i + 1));
            let taken = ["use", "crate"].contains(&before) || (["{", ","].contains(&before) && self.in_use(*i));
            self.text(*i) == library && before != "::" && before != "." && (after == "::" || taken)
        };
        (0..self.tokens.len()).filter(names).map(|i| self.tokens[i].line).collect()
    }

    /// Whether token `i` stands in a `use`.
    fn in_use(&self, i: usize) -> bool {
        (0..i).rev().map(|j| self.text(j)).find(|text| [";", "use", "}"].contains(text)) == Some("use")
    }

    fn text(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |token| token.text)
    }
}

fn tokens(text: &'static str) -> Vec<Token<'static>> {
    let bytes = text.as_bytes();
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    while i < bytes.len() {
        let rest = &text[i..];
        let length = match bytes[i] {
            b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => block_comment(rest),
            b'"' => quoted(rest, b'"'),
            b'r' | b'b' if raw_text(rest).is_some() => raw_text(rest).unwrap(),
            b'b' if rest.starts_with("b\"") => 1 + quoted(&rest[1..], b'"'),
            b'b' if rest.starts_with("b'") => 1 + quoted(&rest[1..], b'\''),
            b'\'' => character(rest),
            byte if byte.is_ascii_whitespace() => 1,
            byte => {
                let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
                let length = match rest.starts_with("::") {
                    true => 2,
                    false if word(byte) => rest.bytes().take_while(|byte| word(*byte)).count(),
                    false => 1,
                };
                tokens.push(Token { text: &rest[..length], line });
                length
            }
        };
        line += rest[..length].matches('\n').count();
        i += length;
    }
    tokens
}

/// Length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut i) = (0, 0);
    while i < text.len() {
        let rest = &text.as_bytes()[i..];
        if rest.starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    i
}

/// Length of quoted text, quotes included.
fn quoted(text: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (i, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if byte == quote => return i + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of raw text (`r#"..."#`), if the text starts with one.
fn raw_text(text: &str) -> Option<usize> {
    let start = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let hashes = start.bytes().take_while(|byte| *byte == b'#').count();
    let body = start[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let before = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |place| before + place + end.len()))
}

/// Length of a character in quotes, or 1 for the quote of a lifetime.
fn character(text: &str) -> usize {
    let second = text[1..].chars().next();
    match second {
        Some('\\') => quoted(text, b'\''),
        Some(c) if text[1 + c.len_utf8()..].starts_with('\'') => 2 + c.len_utf8(),
        _ => 1,
    }
}

/// Leaves out what `#[cfg(test)]` stands before: up to a semicolon, or a block in braces.
fn without_tests(tokens: Vec<Token<'static>>) -> Vec<Token<'static>> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut i) = (Vec::new(), 0);
    while i < tokens.len() {
        let marked =
            MARK.iter().enumerate().all(|(k, text)| tokens.get(i + k).is_some_and(|token| token.text == *text));
        if !marked {
            kept.push(tokens[i]);
            i += 1;
            continue;
        }
        i += MARK.len();
        let mut depth = 0;
        while i < tokens.len() {
            let text = tokens[i].text;
            depth += i32::from(text == "{") - i32::from(text == "}");
            i += 1;
            if depth == 0 && [";", "}"].contains(&text) {
                break;
            }
        }
    }
    kept
}
