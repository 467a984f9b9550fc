//! Lists of keys, from the oldest to the newest; a key is in one list at most.
//!
//! Each list is a ring of indices through an entry of its own behind those of the keys.
#![forbid(unsafe_code)]

/// The lists.
#[derive(Debug)]
pub(crate) struct Links {
    links: Vec<Link>,
    nr_keys: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    older: u32,
    newer: u32,
}

impl Links {
    /// `nr_lists` empty lists for keys below `nr_keys`, all of their memory resident.
    pub(crate) fn new(nr_keys: usize, nr_lists: usize) -> Links {
        let alone = |at: usize| Link {
            older: at as u32,
            newer: at as u32,
        };
        Links {
            links: (0..nr_keys + nr_lists).map(alone).collect(),
            nr_keys: nr_keys as u32,
        }
    }

    /// The oldest key of a list.
    pub(crate) fn oldest(&self, list: u32) -> Option<u32> {
        let end = self.nr_keys + list;
        let oldest = self.links[end as usize].newer;
        (oldest != end).then_some(oldest)
    }

    /// Makes a key that is in no list the newest of one.
    pub(crate) fn push(&mut self, list: u32, key: u32) {
        let end = self.nr_keys + list;
        let older = self.links[end as usize].older;
        self.links[key as usize] = Link { older, newer: end };
        self.links[older as usize].newer = key;
        self.links[end as usize].older = key;
    }

    /// Takes a key out of whichever list it is in.
    pub(crate) fn remove(&mut self, key: u32) {
        let Link { older, newer } = self.links[key as usize];
        self.links[older as usize].newer = newer;
        self.links[newer as usize].older = older;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(links: &mut Links, list: u32) -> Vec<u32> {
        std::iter::from_fn(|| {
            let key = links.oldest(list)?;
            links.remove(key);
            Some(key)
        })
        .collect()
    }

    #[test]
    fn the_oldest_key_goes_first() {
        let mut links = Links::new(3, 1);
        assert_eq!(links.oldest(0), None);
        (0..3).for_each(|key| links.push(0, key));
        links.remove(0);
        links.push(0, 0);
        assert_eq!(drained(&mut links, 0), [1, 2, 0]);
    }

    #[test]
    fn lists_do_not_know_of_each_other() {
        let mut links = Links::new(4, 2);
        (0..4).for_each(|key| links.push(key % 2, key));
        links.remove(0);
        links.push(1, 0);
        assert_eq!(drained(&mut links, 1), [1, 3, 0]);
        assert_eq!(drained(&mut links, 0), [2]);
    }
}
