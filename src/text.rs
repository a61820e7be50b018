//! Words of others on one line of ours: what they hold can be anything, and must not look like something else.

/// One line of at most so many characters. Control characters, line ends and the invisible characters that turn the
/// direction of a text become blanks.
#[must_use]
pub fn line(text: &str, most: usize) -> String {
    let mut line = String::new();
    let mut length: usize = 0;
    for word in text.split(|c: char| c.is_whitespace() || is_hidden(c)) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
            length = length.saturating_add(1);
        }
        line.push_str(word);
        length = length.saturating_add(word.chars().count());
        if length > most {
            return shortened(&line, most);
        }
    }
    line
}

/// At most so many characters, with a mark where something was cut off.
#[must_use]
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept = text.chars().take(most.saturating_sub(1));
    kept.chain(['…']).collect()
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_in_it_it_is_one_line_of_visible_text() {
        for (text, line_of_it) in [
            ("plain", "plain"),
            ("  a\r\n\tb  ", "a b"),
            ("a\u{1b}[31mred\u{0}", "a [31mred"),
            ("x\u{202e}y\u{2028}z", "x y z"),
            ("\u{200b}", ""),
            ("abcdefghijkl", "abcdefghi…"),
            ("ä ö ü ß é è", "ä ö ü ß é…"),
        ] {
            assert_eq!(line(text, 10), line_of_it, "{text:?}");
        }
    }
}
