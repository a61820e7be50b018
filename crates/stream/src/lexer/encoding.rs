//! Encodings in which a byte that looks like ASCII can be the second half of a longer character.

/// An encoding, as far as it decides where text is cut: in some, a byte that looks like a quote or a backslash can be a part of
/// a longer character.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// No byte of a longer character looks like ASCII.
    #[default]
    Safe,
    /// `SJIS` and `SHIFT_JIS_2004`
    Sjis,
    /// `BIG5`, `GBK` and `UHC`
    TwoBytes,
    Gb18030,
    Johab,
}

impl Encoding {
    /// The encoding of this name, as a server understands it.
    pub(crate) fn named(name: &[u8]) -> Self {
        let name: Vec<u8> = name
            .iter()
            .filter(|byte| byte.is_ascii_alphanumeric())
            .map(u8::to_ascii_lowercase)
            .collect();
        match name.as_slice() {
            b"sjis" | b"shiftjis" | b"mskanji" | b"win932" | b"windows932" | b"shiftjis2004" => {
                Self::Sjis
            }
            b"big5" | b"win950" | b"windows950" | b"gbk" | b"win936" | b"windows936" | b"uhc"
            | b"win949" | b"windows949" => Self::TwoBytes,
            b"gb18030" => Self::Gb18030,
            b"johab" => Self::Johab,
            _ => Self::Safe,
        }
    }
}

/// Hides the later bytes of a longer character, as `psql` does before it looks at a line.
#[derive(Debug, Default)]
pub(super) struct Mask {
    /// How many bytes of the current character are still to come.
    pub(super) rest: u8,
    /// Whether the next byte is the second one of a character in GB18030, which tells how many there are.
    pub(super) is_second: bool,
    /// The next byte, if it has been masked already.
    pub(super) known: Option<u8>,
}

impl Mask {
    pub(super) fn look(&mut self, byte: u8, encoding: Encoding) -> u8 {
        if let Some(known) = self.known {
            return known;
        }
        if byte == b'\n' {
            *self = Self::default();
        } else if self.rest > 0 {
            self.rest -= 1;
            if std::mem::take(&mut self.is_second) && byte.is_ascii_digit() {
                self.rest = 2;
            }
            self.known = Some(0xff);
            return 0xff;
        } else if byte >= 0x80 {
            self.rest = match encoding {
                Encoding::Sjis if (0xa1..=0xdf).contains(&byte) => 0,
                Encoding::Johab if byte == 0x8f => 2,
                _ => 1,
            };
            self.is_second = encoding == Encoding::Gb18030;
        }
        self.known = Some(byte);
        byte
    }
}
