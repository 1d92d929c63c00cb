//! Numbers and strings that a pickle writes as text, and short integers.

use std::borrow::Cow;

use super::MAX_INTEGER;
use super::opcodes::Op;

/// The integer, if it has at most 64 bits: two's complement, little-endian.
pub(super) fn short_integer(bytes: &[u8]) -> Option<i64> {
    let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut full = [fill; 8];
    full.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(full))
}

/// A number of opcode `I`, `L` or `F`.
pub(super) fn number(code: u8, line: &[u8]) -> Result<Op<'static>, String> {
    let wrong = || "a number that cannot be read".to_owned();
    if line.len() > MAX_INTEGER {
        return Err(format!("a number of {} digits; at most {MAX_INTEGER} are read", line.len()));
    }
    let line = std::str::from_utf8(line).map_err(|_| wrong())?;
    if code == b'F' {
        return line.parse().map(Op::Float).map_err(|_| wrong());
    }
    match line {
        "00" => return Ok(Op::Bool(false)),
        "01" => return Ok(Op::Bool(true)),
        _ => {}
    }
    // Python 2 wrote an L behind long numbers.
    let number: i128 = line.strip_suffix('L').unwrap_or(line).parse().map_err(|_| wrong())?;
    Ok(match i64::try_from(number) {
        Ok(number) => Op::Int(number),
        Err(_) => Op::Long(Cow::Owned(number.to_le_bytes().to_vec())),
    })
}

/// A string in quotes as Python prints it.
pub(super) fn quoted(line: &[u8]) -> Option<Cow<'_, str>> {
    let line = std::str::from_utf8(line).ok()?.trim_ascii_end();
    let quote = line.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let inner = line.strip_prefix(quote)?.strip_suffix(quote)?;
    unescape(inner, |kind, rest| match kind {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        '\\' | '\'' | '"' => Some(kind),
        'x' => hexadecimal(rest, 2),
        _ => None,
    })
}

/// A string with `\u0041` for characters beyond Latin-1.
pub(super) fn escaped(line: &[u8]) -> Option<Cow<'_, str>> {
    let read = |kind, rest: &mut std::str::Chars<'_>| match kind {
        'u' => hexadecimal(rest, 4),
        'U' => hexadecimal(rest, 8),
        _ => None,
    };
    if line.is_ascii() {
        return unescape(std::str::from_utf8(line).ok()?, read);
    }
    // Latin-1: as many characters as bytes.
    let text: String = line.iter().map(|&byte| char::from(byte)).collect();
    Some(Cow::Owned(unescape(&text, read)?.into_owned()))
}

/// Replaces what follows a backslash by what `read` makes of it; no text if it makes nothing.
fn unescape(text: &str, read: impl Fn(char, &mut std::str::Chars<'_>) -> Option<char>) -> Option<Cow<'_, str>> {
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                let kind = rest.next()?;
                plain.push(read(kind, &mut rest)?);
            }
            c => plain.push(c),
        }
    }
    Some(Cow::Owned(plain))
}

fn hexadecimal(rest: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let mut number = 0;
    for _ in 0..digits {
        number = number * 16 + rest.next()?.to_digit(16)?;
    }
    char::from_u32(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_integers_have_a_sign() {
        let cases: [(&[u8], Option<i64>); 7] = [
            (&[], Some(0)),
            (&[0xff, 0], Some(255)),
            (&[0xff], Some(-1)),
            (&[0, 0x80], Some(-32768)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], Some(i64::MAX)),
            (&[0, 0, 0, 0, 0, 0, 0, 0x80], Some(i64::MIN)),
            (&[0; 9], None),
        ];
        for (bytes, number) in cases {
            assert_eq!(short_integer(bytes), number, "{bytes:?}");
        }
    }

    #[test]
    fn numbers_are_read_as_python_writes_them() {
        assert_eq!(number(b'I', b"01"), Ok(Op::Bool(true)));
        assert_eq!(number(b'I', b"00"), Ok(Op::Bool(false)));
        assert_eq!(number(b'I', b"-17"), Ok(Op::Int(-17)));
        assert_eq!(number(b'L', b"17L"), Ok(Op::Int(17)));
        assert_eq!(number(b'F', b"-1.5e3"), Ok(Op::Float(-1500.0)));
        let long = (i128::from(i64::MAX) + 1).to_le_bytes().to_vec();
        assert_eq!(number(b'L', b"9223372036854775808L"), Ok(Op::Long(Cow::Owned(long))));
        for line in [&b""[..], b"1 2", b"x", b"\xff", &[b'1'; 60]] {
            assert!(number(b'L', line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn strings_lose_their_escapes() {
        for (line, text) in [
            (&br"'plain'"[..], Some("plain")),
            (br#""it's""#, Some("it's")),
            (br"'a\x41\n\t\r\\\''", Some("aA\n\t\r\\'")),
            (b"'trailing' \r", Some("trailing")),
            (b"'open", None),
            (b"'", None),
            (b"", None),
            (br"'\q'", None),
            (br"'\x4'", None),
            (br"'\'", None),
        ] {
            assert_eq!(quoted(line).as_deref(), text, "{}", String::from_utf8_lossy(line));
        }
        for (line, text) in [
            (&b"plain"[..], Some("plain")),
            (br"\u00e9\U0001F9EC", Some("é🧬")),
            (b"caf\xe9 \\u00e9", Some("café é")),
            (br"\ud800", None),
            (br"\u12", None),
            (br"\n", None),
        ] {
            assert_eq!(escaped(line).as_deref(), text, "{}", String::from_utf8_lossy(line));
        }
    }
}
