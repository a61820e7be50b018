//! Which connections stay open when there are more than places: a new connection is accepted, and the oldest one is closed.
//!
//! Nobody loses an answer by this. Each answer is made and handed to the system in one poll of the connection's task, so between two
//! polls a connection has either asked nothing yet or already has its answer.

/// More than any monitor opens, fewer than the usual limit of 1,024 descriptors that a dump also needs.
pub const PLACES: usize = 800;

/// How many places are reserved for clients on this machine, so that the container's own health check always gets one.
const OWN: usize = 16;

/// Which of the open connections has to be closed for a new one, if one has to. `open` says of each, the oldest first, whether its peer
/// is on this machine.
pub fn gives_way(is_own: bool, open: impl Iterator<Item = bool> + Clone) -> Option<usize> {
    let strangers = open.clone().filter(|is_own| !is_own).count();
    let only_strangers = !is_own && strangers >= PLACES - OWN;
    if !only_strangers && open.clone().count() < PLACES {
        return None;
    }
    let mut open = open;
    open.position(|is_own| !(only_strangers && is_own))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: bool = false;
    const MINE: bool = true;

    #[test]
    fn the_oldest_goes_and_strangers_never_take_the_last_places() {
        let most = PLACES - OWN;
        for (what, open, stranger, own) in [
            ("nobody", &[][..], None, None),
            ("one place left", &[(most - 1, STRANGER)], None, None),
            ("strangers everywhere", &[(most, STRANGER)], Some(0), None),
            (
                "strangers everywhere, and one of our own that came first",
                &[(1, MINE), (most, STRANGER)],
                Some(1),
                None,
            ),
            (
                "every place taken",
                &[(OWN, MINE), (most, STRANGER)],
                Some(OWN),
                Some(0),
            ),
            (
                "our own in all of the places, which are not theirs to keep",
                &[(PLACES, MINE)],
                Some(0),
                Some(0),
            ),
            (
                "more of our own than have a place of their own",
                &[(1, MINE), (700, STRANGER), (99, MINE)],
                Some(0),
                Some(0),
            ),
        ] {
            let judge = |is_own| {
                let guests = open.iter();
                gives_way(
                    is_own,
                    guests.flat_map(|(count, guest)| vec![*guest; *count]),
                )
            };
            assert_eq!(judge(STRANGER), stranger, "a stranger; {what}");
            assert_eq!(judge(MINE), own, "one of our own; {what}");
        }
    }
}
