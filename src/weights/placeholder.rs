//! What is often found instead of a file of a model, recognised by its first bytes.

/// Bytes at the start of a file that are looked at.
pub const START: usize = 512;

/// What a file is instead of a model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// A Git-LFS pointer, which only names the file.
    Pointer,
    /// A web page, or what a server says in XML.
    Page,
}

/// How a page starts, in lower case.
const PAGES: [&[u8]; 10] =
    [b"<!doctype", b"<!--", b"<?xml", b"<html", b"<head>", b"<body", b"<title", b"<meta", b"<script", b"<error"];

impl Placeholder {
    /// What a file is by its first bytes, of which [`START`] are looked at. Nothing is said of any other file.
    pub fn of(start: &[u8]) -> Option<Self> {
        let text = start.get(..START).unwrap_or(start);
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start().to_ascii_lowercase();
        if text.starts_with(b"version https://git-lfs") {
            return Some(Self::Pointer);
        }
        PAGES.iter().any(|tag| text.starts_with(tag)).then_some(Self::Page)
    }

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pointer => "a Git-LFS pointer",
            Self::Page => "a web page",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_and_pages_are_told_from_files_of_models() {
        assert_eq!(Placeholder::of(b"version https://git-lfs.github.com/spec/v1\noid"), Some(Placeholder::Pointer));
        for page in [
            "\n <!DOCTYPE html>",
            "\u{feff}<html>",
            "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
            "<Error>",
            "<HEAD><title>Log in</title>",
        ] {
            assert_eq!(Placeholder::of(page.as_bytes()), Some(Placeholder::Page), "{page}");
        }
        for file in [&b""[..], b"\x10\0\0\0\0\0\0\0{}", b"PK\x03\x04", b"<cls>\n<pad>", b"{\"a\": \"<html>\"}", b"<!do"]
        {
            assert_eq!(Placeholder::of(file), None, "{file:?}");
        }
    }
}
