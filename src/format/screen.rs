//! What an answer is written to: a terminal, which has a width and shows colours, or something that has neither.

/// A terminal, or by default a file or a pipe: there, a line is as long as it is, and has no colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Screen {
    width: Option<usize>,
    has_colours: bool,
}

/// What a colour is to say. The words say it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Green.
    Good,
    /// Yellow.
    Odd,
    /// Red.
    Bad,
    /// Blue.
    Calm,
}

impl Screen {
    /// Lines longer than this are hard to read.
    const MOST: usize = 100;

    /// Where so few columns are left, a text is not wrapped.
    const LEAST: usize = 20;

    /// A terminal of so many columns.
    #[must_use]
    pub fn terminal(columns: u16, has_colours: bool) -> Self {
        Self {
            width: Some(usize::from(columns)),
            has_colours,
        }
    }

    /// How many columns a line may have, where it is limited.
    #[must_use]
    pub fn width(self) -> Option<usize> {
        self.width.map(|width| width.min(Self::MOST))
    }

    /// A text in a colour, where there are colours. The text must be visible already.
    #[must_use]
    pub fn painted(self, colour: Colour, text: &str) -> String {
        if !self.has_colours {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Good => 32,
            Colour::Odd => 33,
            Colour::Bad => 31,
            Colour::Calm => 34,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// A text whose first line begins in this column, and whose further lines begin there too. A word that is too long for a line
    /// stays whole, so that it can be copied.
    #[must_use]
    pub fn wrapped(self, text: &str, column: usize) -> String {
        let room = self.width().map(|width| width.saturating_sub(column));
        let Some(room) = room.filter(|room| *room >= Self::LEAST) else {
            return text.to_owned();
        };
        let mut wrapped = String::new();
        let mut used = 0;
        for word in text.split(' ') {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > room {
                wrapped.push('\n');
                wrapped.extend(std::iter::repeat_n(' ', column));
                used = 0;
            } else if used > 0 {
                wrapped.push(' ');
                used += 1;
            }
            wrapped.push_str(word);
            used += length;
        }
        wrapped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_wrapped_between_words_where_lines_are_limited() {
        let screen = Screen::terminal(30, false);
        for (column, text, wrapped) in [
            (4, "one line", "one line"),
            (
                4,
                "a text that is longer than one line",
                "a text that is longer than\n    one line",
            ),
            (
                4,
                "see https://a.very.long.address.example/and/so/on for it",
                "see\n    https://a.very.long.address.example/and/so/on\n    for it",
            ),
            (
                11,
                "too few columns are left for a text",
                "too few columns are left for a text",
            ),
            (4, "", ""),
        ] {
            assert_eq!(screen.wrapped(text, column), wrapped);
        }
        let long = "word ".repeat(100);
        assert_eq!(Screen::default().wrapped(&long, 4), long);
        let widest = Screen::terminal(1000, false).wrapped(&long, 0);
        assert!(widest.lines().all(|line| line.len() <= 100), "{widest}");
    }

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(Screen::default().painted(Colour::Bad, "✗"), "✗");
        assert_eq!(Screen::terminal(80, false).painted(Colour::Bad, "✗"), "✗");
        assert_eq!(
            Screen::terminal(80, true).painted(Colour::Bad, "✗"),
            "\u{1b}[31m✗\u{1b}[0m"
        );
    }
}
