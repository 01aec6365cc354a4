//! Pages of lists, newest first.

use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub entries: Vec<T>,
    /// There are older ones.
    pub more: bool,
}

/// What lists consist of.
pub trait Entry {
    fn id(&self) -> Uuid;
}

impl<T> Page<T> {
    /// At most `limit` entries of a list. One more than that shows that there are more.
    pub fn of(mut entries: Vec<T>, limit: u16) -> Self {
        let more = entries.len() > usize::from(limit);
        entries.truncate(usize::from(limit));
        Self { entries, more }
    }
}

impl<T: Entry> Page<T> {
    /// The entry behind which the next page begins; none where there is none.
    pub fn next(&self) -> Option<Uuid> {
        self.entries.last().filter(|_| self.more).map(Entry::id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Entry for u128 {
        fn id(&self) -> Uuid {
            Uuid::from_u128(*self)
        }
    }

    #[test]
    fn only_the_last_page_has_no_successor() {
        let page = Page::of(vec![9_u128, 7, 5], 2);
        assert_eq!(page, Page { entries: vec![9, 7], more: true });
        assert_eq!(page.next(), Some(Uuid::from_u128(7)));
        assert_eq!(Page::of(vec![9_u128, 7], 2).next(), None);
    }
}
