//! A word and its numbers a line: blocks of lines, parsed by all threads at once.

use std::sync::Arc;

use rayon::prelude::*;

use super::WordVectors;
use super::gather::{self, Gather};
use super::stream::{HEAD, Stream};
use crate::Error;

/// The longest line. A word with ten thousand numbers has some 150 kB.
const MOST_LINE: usize = 16 << 20;

/// Bytes of the first block; each is twice the one before, so that the first words of a file are there at once.
const FIRST_BLOCK: usize = 1 << 20;

/// Bytes of the largest block.
const BLOCK: usize = 32 << 20;

/// Bytes of a piece that one thread parses. Pieces depend on the file alone.
const PIECE: usize = 256 << 10;

/// What a first line of two numbers says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub count: usize,
    pub width: usize,
    /// Length of the line, its end included.
    pub bytes: usize,
}

/// The longest header: two numbers of 20 digits, a space and a line's end.
const HEADER: usize = 48;

/// The header that the first line is, if it is one.
pub(super) fn header(head: &[u8]) -> Option<Header> {
    let end = head.iter().take(HEADER).position(|&byte| byte == b'\n')?;
    let line = std::str::from_utf8(&head[..end]).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (count, width) = (words.next()?, words.next()?);
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    if words.next().is_some() || !is_number(count) || !is_number(width) {
        return None;
    }
    let header = Header { count: count.parse().ok()?, width: width.parse().ok()?, bytes: end + 1 };
    // "1999 5" may be a word with its one number; then the next line is one too.
    let next = head[end + 1..].split(|&byte| byte == b'\n').next().unwrap_or_default();
    let columns = tokens(trimmed(next)).count();
    if header.width != 1
        && columns == 2
        && tokens(trimmed(next)).nth(1).is_some_and(|it| number(it).is_some())
    {
        return None;
    }
    Some(header)
}

/// Reads the header of a file that has been seen to have one.
pub(super) fn read_header(stream: &mut Stream) -> Result<Header, Error> {
    let line = stream.until(b'\n', HEADER, "the header")?;
    let header = header(&[&line[..], b"\n"].concat());
    let Some(header) = header.filter(|header| header.width > 0) else {
        return Err(stream.bad_line(1, "the header says that a vector has no numbers"));
    };
    Ok(header)
}

/// Whether what begins here is a line with a word and numbers, as far as it goes.
pub(super) fn is_text(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if line.is_empty() {
        return head.is_empty();
    }
    let numeric = |&byte: &u8| byte.is_ascii_digit() || b" \t\r+-.eEnaifNAIF".contains(&byte);
    let after = line.iter().position(|byte| b" \t".contains(byte));
    let numbers = after.map(|at| &line[at + 1..]).filter(|rest| !trimmed(rest).is_empty());
    let whole = line.len() < head.len() || head.len() < HEAD / 2;
    match numbers {
        // Numbers only, or a line of text that ends in one.
        Some(numbers) if numbers.iter().all(numeric) => true,
        Some(_) => plain(line) && (!whole || tokens(trimmed(line)).last().and_then(number).is_some()),
        None => false,
    }
}

/// Whether bytes are text: UTF-8, cut anywhere, without control characters.
fn plain(bytes: &[u8]) -> bool {
    let sound = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    sound && !bytes.iter().any(|byte| byte.is_ascii_control() && !b"\t\r\n".contains(byte))
}

/// Reads the lines of a file from where the stream stands.
pub(super) fn read(stream: &mut Stream, header: Option<Header>, limit: usize) -> Result<WordVectors, Error> {
    let mut gather = Gather::new(stream.format, header.map_or(0, |header| header.width));
    let most = header.map_or(limit, |header| header.count.min(limit));
    if let Some(Header { count, width, .. }) = header {
        // A number takes two bytes at least, its blank included, and a line its end.
        let bytes = (count as u128) * (width as u128 * 2 + 1);
        stream.expect(bytes.saturating_sub(1), &format!("{count} words of {width} numbers"))?;
        if stream.left().is_some() {
            gather.reserve(most);
        }
    }
    let mut block: Vec<u8> = Vec::new();
    // The next line's number, and that of an empty line, after which nothing may follow.
    let (mut line, mut blank) = (1 + usize::from(header.is_some()), None);
    let mut size = FIRST_BLOCK;
    loop {
        let ended = stream.append(&mut block, size)? < size;
        let whole = block.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        if block.len() - whole > MOST_LINE {
            let line = line + block[..whole].iter().filter(|&&byte| byte == b'\n').count();
            return Err(
                stream.bad_line(line, format!("longer than {MOST_LINE} bytes: no file of word vectors"))
            );
        }
        let end = if ended { block.len() } else { whole };
        if gather.width == 0 && end > 0 {
            gather.width = trailing_numbers(block.split(|&byte| byte == b'\n').next().unwrap_or_default());
            if gather.width == 0 {
                return Err(stream.bad_line(line, "a word and its numbers expected"));
            }
        }
        let pieces: Vec<Result<Piece, (usize, String)>> =
            cut(&block[..end]).into_par_iter().map(|piece| parse(piece, gather.width)).collect();
        for piece in pieces {
            let piece = piece.map_err(|(at, reason)| stream.bad_line(line + at, reason))?;
            if let (Some(blank), false) = (blank, piece.words.is_empty()) {
                return Err(stream.bad_line(blank, "empty, with more lines below it"));
            }
            for ((word, utf8), row) in piece.words.into_iter().zip(piece.values.chunks(gather.width.max(1))) {
                if gather.report.entries == limit {
                    break;
                }
                if header.is_some_and(|header| gather.report.entries == header.count) {
                    let reason = format!("the header says {most} words, and this is one more");
                    return Err(stream.bad_line(gather.report.entries + 2, reason));
                }
                gather.report.spaced += usize::from(word.contains([' ', '\t']));
                if gather.take(word, utf8) {
                    gather.data.extend_from_slice(row);
                }
            }
            blank = blank.or(piece.blank.map(|at| line + at));
            line += piece.lines;
        }
        if ended || gather.report.entries >= limit {
            break;
        }
        block.drain(..end);
        size = (size * 2).min(BLOCK);
    }
    if let Some(header) = header {
        if gather.report.entries < most {
            let reason = format!(
                "the header says {} words, and there are {}: the file is cut short or its header lies",
                header.count, gather.report.entries
            );
            return Err(stream.bad(reason));
        }
        gather.report.left_out = header.count - gather.report.entries;
    }
    if gather.report.entries == 0 && limit > 0 {
        return Err(stream.bad("it has no words"));
    }
    Ok(gather.finish(None))
}

/// Lines that one thread has parsed.
#[derive(Default)]
struct Piece {
    /// Words, and whether they were UTF-8.
    words: Vec<(Arc<str>, bool)>,
    /// `[words, width]`.
    values: Vec<f32>,
    lines: usize,
    /// The first of the empty lines at the end, from 0.
    blank: Option<usize>,
}

/// Cuts a block of whole lines between lines.
fn cut(mut block: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while block.len() > PIECE {
        let Some(at) = block[PIECE..].iter().position(|&byte| byte == b'\n') else { break };
        let (piece, rest) = block.split_at(PIECE + at + 1);
        pieces.push(piece);
        block = rest;
    }
    pieces.push(block);
    pieces
}

/// Parses lines; an error comes with the number of its line in the piece, from 0.
fn parse(piece: &[u8], width: usize) -> Result<Piece, (usize, String)> {
    let mut parsed = Piece::default();
    let lines = piece.strip_suffix(b"\n").unwrap_or(piece);
    if piece.is_empty() {
        return Ok(parsed);
    }
    for (at, line) in lines.split(|&byte| byte == b'\n').enumerate() {
        parsed.lines += 1;
        let line = trimmed(line);
        if line.is_empty() {
            parsed.blank = parsed.blank.or(Some(at));
            continue;
        }
        if let Some(blank) = parsed.blank {
            return Err((blank, "empty, with more lines below it".into()));
        }
        let word = parse_line(line, width, &mut parsed.values).map_err(|reason| (at, reason))?;
        parsed.words.push(gather::word(word));
    }
    Ok(parsed)
}

/// Appends the numbers of a line and gives its word.
fn parse_line<'a>(line: &'a [u8], width: usize, values: &mut Vec<f32>) -> Result<&'a [u8], String> {
    let end = line.iter().position(is_blank).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let start = values.len();
    let sound = tokens(rest).all(|token| {
        let value = number(token);
        values.extend(value);
        value.is_some_and(f32::is_finite)
    });
    if sound && values.len() - start == width {
        return Ok(word);
    }
    values.truncate(start);
    // A word with blanks in it, or a line that is wrong.
    let all: Vec<&[u8]> = tokens(rest).collect();
    let Some(before) = all.len().checked_sub(width) else {
        return Err(format!("{} numbers, expected {width} as in the lines before or the header", all.len()));
    };
    for (at, token) in all[before..].iter().enumerate() {
        let column = before + at + 2;
        match number(token) {
            Some(value) if value.is_finite() => values.push(value),
            Some(_) => return Err(format!("\"{}\" in column {column} is not finite", shown(token))),
            None => return Err(format!("\"{}\" in column {column} is no number", shown(token))),
        }
    }
    if all[..before].iter().all(|token| number(token).is_some()) {
        return Err(format!("{} numbers, expected {width} as in the lines before or the header", all.len()));
    }
    let rest_at = all.get(before).map_or(0, |first| first.as_ptr() as usize - line.as_ptr() as usize);
    Ok(trimmed(&line[..rest_at]))
}

/// How many numbers stand at the end of a line, its first word left out.
fn trailing_numbers(line: &[u8]) -> usize {
    let line = trimmed(line);
    let end = line.iter().position(is_blank).unwrap_or(line.len());
    let all: Vec<&[u8]> = tokens(&line[end..]).collect();
    all.iter().rev().take_while(|token| number(token).is_some()).count()
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// A line without what ends it.
fn trimmed(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !b" \t\r".contains(byte)).map_or(0, |at| at + 1);
    &line[..end]
}

fn tokens(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(is_blank).filter(|token| !token.is_empty())
}

fn number(token: &[u8]) -> Option<f32> {
    std::str::from_utf8(token).ok()?.parse().ok()
}

fn shown(token: &[u8]) -> String {
    String::from_utf8_lossy(&token[..token.len().min(40)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, width: usize) -> Result<(String, Vec<f32>), String> {
        let mut values = Vec::new();
        let word = parse_line(text.as_bytes(), width, &mut values)?;
        Ok((String::from_utf8_lossy(word).into_owned(), values))
    }

    #[test]
    fn a_line_is_a_word_and_so_many_numbers() {
        assert_eq!(line("a 1 -2.5e-1", 2), Ok(("a".into(), vec![1.0, -0.25])));
        assert_eq!(line("a\t1  2", 2), Ok(("a".into(), vec![1.0, 2.0])));
        assert_eq!(line(" 1 2", 2), Ok((String::new(), vec![1.0, 2.0])));
        assert_eq!(line(". . . 1 2", 2), Ok((". . .".into(), vec![1.0, 2.0])));
        assert_eq!(line("12 1 2", 2), Ok(("12".into(), vec![1.0, 2.0])));
        for (text, part) in [
            ("a 1", "1 numbers, expected 2"),
            ("a", "0 numbers, expected 2"),
            ("a 1 2 3", "3 numbers, expected 2"),
            ("a 1 x", "\"x\" in column 3 is no number"),
            ("a nan 1", "\"nan\" in column 2 is not finite"),
            ("a 1 1e99", "\"1e99\" in column 3 is not finite"),
        ] {
            let error = line(text, 2).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_header_is_two_numbers_above_another_width() {
        let width = |text: &str| header(text.as_bytes()).map(|header| header.width);
        assert_eq!(width("2 3\na 1 2 3\n"), Some(3));
        assert_eq!(width("2 1\na 1\n"), Some(1));
        assert_eq!(width("1999 5\na 1\n"), None);
        assert_eq!(width("a 3\nb 2\n"), None);
        assert_eq!(width("2 3 4\n"), None);
        assert_eq!(width("2 3"), None);
        assert_eq!(width("2 99999999999999999999999999\n"), None);
    }

    #[test]
    fn pieces_are_cut_between_lines() {
        let line = b"word 1 2 3\n";
        let block = line.repeat(3 * PIECE / line.len());
        let pieces = cut(&block);
        assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.ends_with(b"\n")));
        assert_eq!(pieces.concat(), block);
    }
}
