//! Kinds of objects that a restore can leave out, each with all the statements about it (pure).

/// A kind that `restore --skip` leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// Event triggers, which only a superuser may create.
    EventTriggers,
    /// Publications.
    Publications,
    /// Subscriptions.
    Subscriptions,
    /// Extensions; the target must have those that the data needs.
    Extensions,
}

/// Every kind.
pub const EVERYTHING: [ObjectKind; 4] = [
    ObjectKind::EventTriggers,
    ObjectKind::Publications,
    ObjectKind::Subscriptions,
    ObjectKind::Extensions,
];

/// The kinds that are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skip {
    /// Event triggers.
    pub event_triggers: bool,
    /// Publications.
    pub publications: bool,
    /// Subscriptions.
    pub subscriptions: bool,
    /// Extensions.
    pub extensions: bool,
}

impl Skip {
    /// Whether this kind is left out.
    #[must_use]
    pub const fn holds(self, kind: ObjectKind) -> bool {
        match kind {
            ObjectKind::EventTriggers => self.event_triggers,
            ObjectKind::Publications => self.publications,
            ObjectKind::Subscriptions => self.subscriptions,
            ObjectKind::Extensions => self.extensions,
        }
    }

    /// Whether every kind is left out.
    #[must_use]
    pub fn is_everything(self) -> bool {
        EVERYTHING.into_iter().all(|kind| self.holds(kind))
    }

    /// The same kinds, and this one too.
    #[must_use]
    pub const fn and(mut self, kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::EventTriggers => self.event_triggers = true,
            ObjectKind::Publications => self.publications = true,
            ObjectKind::Subscriptions => self.subscriptions = true,
            ObjectKind::Extensions => self.extensions = true,
        }
        self
    }
}

impl FromIterator<ObjectKind> for Skip {
    fn from_iter<T: IntoIterator<Item = ObjectKind>>(kinds: T) -> Self {
        kinds.into_iter().fold(Self::default(), Self::and)
    }
}

/// The kind that a statement of these words is about.
pub(super) fn kind_of(words: &[&str]) -> Option<ObjectKind> {
    let (["CREATE" | "ALTER" | "DROP", object @ ..]
    | ["COMMENT", "ON", object @ ..]
    | ["SECURITY", "LABEL", "ON", object @ ..]
    | ["SECURITY", "LABEL", "FOR", _, "ON", object @ ..]) = words
    else {
        return None;
    };
    match object {
        ["EVENT", "TRIGGER", ..] => Some(ObjectKind::EventTriggers),
        ["PUBLICATION", ..] => Some(ObjectKind::Publications),
        ["SUBSCRIPTION", ..] => Some(ObjectKind::Subscriptions),
        ["EXTENSION", ..] => Some(ObjectKind::Extensions),
        // An object that is dropped together with an extension, without being a part of it.
        [.., "DEPENDS", "ON", "EXTENSION", _, ";"] if words.first() == Some(&"ALTER") => {
            Some(ObjectKind::Extensions)
        }
        _ => None,
    }
}

/// Whether a statement that begins with these words might be left out, so that it must be held back until it is whole.
pub(super) fn may_be_left_out(words: &[&str]) -> bool {
    match words {
        ["ALTER" | "GRANT" | "REVOKE" | "COMMENT" | "SECURITY", ..] => true,
        words => kind_of(words).is_some(),
    }
}
