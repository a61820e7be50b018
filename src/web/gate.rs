//! Protects the page and the metrics: only requests with `STATUS_TOKEN` are let in, and these always are.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::secret::Secret;
use crate::secret::renewable::Renewable;

/// How many wrong tokens in quick succession are answered before clients are asked to wait.
const AT_ONCE: u32 = 10;

/// How long it takes until one more wrong token is answered.
const EACH: Duration = Duration::from_secs(6);

/// The answer to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The token is right.
    Open,
    /// There was none, as when a browser asks for the first time.
    Missing,
    /// It is wrong.
    Wrong,
    /// It is wrong, and there were too many wrong ones before. The next one is checked after this time.
    Pause(Duration),
}

/// The token, and the wrong guesses of the last minute.
pub struct Gate {
    token: Renewable<Option<Secret>>,
    guesses: Mutex<Guesses>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate(…)")
    }
}

impl Gate {
    /// A door for this token.
    #[must_use]
    pub fn new(token: Renewable<Option<Secret>>) -> Self {
        Self {
            token,
            guesses: Mutex::default(),
        }
    }

    /// Judges a request by its `Authorization`: `Bearer TOKEN`, or `Basic` with the token as the password of any user.
    ///
    /// A right token passes however many wrong ones came before: all clients of a platform's proxy have one address, so
    /// a lock after wrong ones would let anybody lock the owner out. What makes guessing hopeless is the token's length.
    pub fn judge(&self, authorization: Option<&[u8]>, now: Instant) -> Answer {
        let Some(given) = authorization.and_then(given) else {
            return Answer::Missing;
        };
        // All digests have the same length, so the time that a comparison takes reveals neither the beginning of the token nor its length.
        let digest: [u8; 32] = Sha256::digest(given).into();
        let right = self.token.get().is_some_and(|token| {
            let expected: [u8; 32] = Sha256::digest(token.expose()).into();
            bool::from(digest.ct_eq(&expected))
        });
        if right {
            return Answer::Open;
        }
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let (after, answer) = guesses.and_one_more(now);
        if after.told && !guesses.told {
            tracing::warn!(
                hint = "somebody is guessing, or a client still uses an old token; the right token is accepted all the same",
                "too many wrong tokens"
            );
        }
        *guesses = after;
        answer
    }
}

/// The token in a header, if there is one.
fn given(authorization: &[u8]) -> Option<Vec<u8>> {
    let blank = authorization.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = authorization.split_at_checked(blank)?;
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        Some(rest.to_vec())
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        let pair = BASE64.decode(rest).unwrap_or_default();
        let colon = pair.iter().position(|byte| *byte == b':');
        Some(colon.map_or_else(Vec::new, |at| pair.into_iter().skip(at + 1).collect()))
    } else {
        None
    }
}

/// The recent wrong tokens, kept as the time at which all of them will be forgotten.
#[derive(Debug, Clone, Copy, Default)]
struct Guesses {
    forgotten_at: Option<Instant>,
    /// Whether it was logged that there are too many. Until they are forgotten, this is logged once.
    told: bool,
}

impl Guesses {
    fn and_one_more(self, now: Instant) -> (Self, Answer) {
        let forgotten_at = self.forgotten_at.map_or(now, |at| at.max(now));
        let most = EACH * (AT_ONCE - 1);
        let held = forgotten_at.duration_since(now);
        if held > most {
            let after = Self { told: true, ..self };
            return (after, Answer::Pause(held - most));
        }
        let after = Self {
            forgotten_at: forgotten_at.checked_add(EACH),
            told: self.told && held > Duration::ZERO,
        };
        (after, Answer::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "b7e1c0ffee:b7e1c0ffee";

    fn gate() -> Gate {
        Gate::new(Renewable::new(Some(Secret::new(TOKEN.to_owned()))))
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", BASE64.encode(pair))
    }

    #[test]
    fn the_token_opens_as_a_bearers_or_as_anybodys_password() {
        for right in [
            format!("Bearer {TOKEN}"),
            format!("bearer  {TOKEN} "),
            basic(&format!(":{TOKEN}")),
            basic(&format!("anybody:{TOKEN}")).replacen("Basic", "BASIC", 1),
        ] {
            let answer = gate().judge(Some(right.as_bytes()), Instant::now());
            assert_eq!(answer, Answer::Open, "{right}");
        }
        for wrong in [
            "Bearer ".to_owned(),
            format!("Bearer {}", &TOKEN[1..]),
            format!("Bearer {TOKEN}x"),
            format!("Bearer {}", TOKEN.to_uppercase()),
            format!("Basic {TOKEN}"),
            basic(TOKEN),
            basic(&format!("{TOKEN}:")),
            basic(""),
            "Basic ".to_owned(),
        ] {
            let answer = gate().judge(Some(wrong.as_bytes()), Instant::now());
            assert_eq!(answer, Answer::Wrong, "{wrong}");
        }
        for none in ["", "Bearer", "Digest x", TOKEN, &format!("Token {TOKEN}")] {
            let answer = gate().judge(Some(none.as_bytes()), Instant::now());
            assert_eq!(answer, Answer::Missing, "{none}");
        }
        assert_eq!(gate().judge(None, Instant::now()), Answer::Missing);
    }

    #[test]
    fn wrong_tokens_are_answered_ten_at_once_and_then_ten_a_minute_and_the_right_one_always() {
        let (gate, start) = (gate(), Instant::now());
        let judge = |token: &str, after: u64| {
            let given = format!("Bearer {token}");
            gate.judge(Some(given.as_bytes()), start + Duration::from_secs(after))
        };
        for _ in 0..10 {
            assert_eq!(judge("x", 0), Answer::Wrong);
        }
        for _ in 0..10 {
            assert_eq!(judge("x", 2), Answer::Pause(Duration::from_secs(4)));
            assert_eq!(judge(TOKEN, 2), Answer::Open);
        }
        assert_eq!(judge("x", 6), Answer::Wrong);
        assert_eq!(judge("x", 6), Answer::Pause(EACH));
        // A minute later all are forgotten.
        for _ in 0..10 {
            assert_eq!(judge("x", 66), Answer::Wrong);
        }
        assert_eq!(judge("x", 66), Answer::Pause(EACH));
    }

    #[test]
    fn no_debug_output_holds_the_token() {
        assert_eq!(format!("{:?}", gate()), "Gate(…)");
    }
}
