//! Objects of a malloc trace, mapped to blocks.
//!
//! An object of a page or more has a block of its own, of the smallest order that holds it and its
//! alignment; beyond 4 MiB it has several, all but the last of 4 MiB. Smaller objects share pages:
//! each power of two from 16 to 2048 bytes is a size class, a page holds objects of one class, and
//! a page is freed with its last object. A realloc within the same class or order stays where it
//! is; any other allocates, then frees.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap};

use pagepool::{Gfp, Order, PAGE_SIZE};

use super::blocks::{BlockTrace, BlockTraceBuilder};

/// The mapping in one line, for reports.
const MAPPING: &str =
    "an object of a page or more has its own block, smaller ones share pages of their size class";

/// Bytes in an object beyond which a trace is taken for damaged.
const MAX_OBJECT: u64 = 1 << 40;

/// Base-two logarithm of the largest alignment: that of the largest block.
const MAX_LOG2_ALIGN: u64 = Order::MAX.bytes().ilog2() as u64;

/// Size classes below a page: 16, 32, …, 2048 bytes.
const NR_CLASSES: usize = 8;
const SMALLEST: u64 = 16;

/// Where an object of some size and alignment goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fit {
    /// Into a shared page of this class.
    Class(usize),
    /// Into `full` blocks of 4 MiB and one of `rest`, if there is a rest.
    Blocks { full: u64, rest: Option<Order> },
}

impl Fit {
    fn new(size: u64, log2_align: u64) -> Result<Fit, String> {
        if size > MAX_OBJECT {
            return Err(format!(
                "size {size} is out of range: accepted is 0 to {MAX_OBJECT}"
            ));
        }
        if log2_align > MAX_LOG2_ALIGN {
            return Err(format!(
                "alignment 2^{log2_align} is out of range: accepted is 2^0 to 2^{MAX_LOG2_ALIGN}"
            ));
        }
        // Blocks and cells are aligned to their size.
        let size = size.max(1 << log2_align);
        if size <= PAGE_SIZE as u64 / 2 {
            let class = size.max(SMALLEST).next_power_of_two() / SMALLEST;
            return Ok(Fit::Class(class.ilog2() as usize));
        }
        let largest = Order::MAX.bytes() as u64;
        let rest = match size % largest {
            0 => None,
            rest => Order::for_bytes(rest as usize),
        };
        Ok(Fit::Blocks {
            full: size / largest,
            rest,
        })
    }
}

/// Where a live object is.
enum Home {
    /// A cell of a shared page.
    Cell { class: usize, page: u32 },
    /// Blocks of its own.
    Blocks(Box<[u32]>),
}

struct Object {
    fit: Fit,
    home: Home,
}

/// The pages of one size class.
#[derive(Default)]
struct Class {
    /// Objects in each page, by slot.
    nr_objects: HashMap<u32, usize>,
    /// Pages with a free cell; the lowest slot is filled first.
    open: BTreeSet<u32>,
}

/// Turns the calls of a malloc trace into blocks.
pub(crate) struct ObjectMapper {
    blocks: BlockTraceBuilder,
    live: HashMap<u64, Object>,
    classes: [Class; NR_CLASSES],
    /// Ids below this one have been given.
    next_id: u64,
}

impl ObjectMapper {
    pub(crate) fn new(name: &str) -> ObjectMapper {
        ObjectMapper {
            blocks: BlockTraceBuilder::new(name, Some(MAPPING)),
            live: HashMap::new(),
            classes: Default::default(),
            next_id: 0,
        }
    }

    /// So many bytes of the trace were read.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.blocks.read(bytes);
    }

    /// The id that the next object has if ids are not written down but counted.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Allocates the object `id`.
    pub(crate) fn alloc(&mut self, id: u64, size: u64, log2_align: u64) -> Result<(), String> {
        if id < self.next_id {
            return Err(format!("id {id} was given before"));
        }
        let fit = Fit::new(size, log2_align)?;
        self.next_id = id
            .checked_add(1)
            .ok_or_else(|| format!("id {id} is out of range"))?;
        self.insert(id, fit)
    }

    /// Changes the size of the object `id`.
    pub(crate) fn realloc(&mut self, id: u64, size: u64) -> Result<(), String> {
        let fit = Fit::new(size, 0)?;
        if self.live.get(&id).is_some_and(|object| object.fit == fit) {
            return Ok(());
        }
        let old = self.remove(id)?;
        self.insert(id, fit)?;
        self.give_back(&old.home)
    }

    /// Frees the object `id`.
    pub(crate) fn free(&mut self, id: u64) -> Result<(), String> {
        let object = self.remove(id)?;
        self.give_back(&object.home)
    }

    /// Ends the trace.
    pub(crate) fn finish(self) -> Result<BlockTrace, String> {
        self.blocks.finish()
    }

    fn insert(&mut self, id: u64, fit: Fit) -> Result<(), String> {
        let home = match fit {
            Fit::Class(class) => self.take_cell(class)?,
            Fit::Blocks { full, rest } => self.take_blocks(full, rest)?,
        };
        self.live.insert(id, Object { fit, home });
        Ok(())
    }

    fn remove(&mut self, id: u64) -> Result<Object, String> {
        self.live
            .remove(&id)
            .ok_or_else(|| match id < self.next_id {
                true => format!("object {id} is not live: freed before, or never allocated"),
                false => format!("object {id} was never allocated"),
            })
    }

    fn take_blocks(&mut self, full: u64, rest: Option<Order>) -> Result<Home, String> {
        let orders = (0..full).map(|_| Order::MAX).chain(rest);
        let slots = orders.map(|order| self.blocks.alloc(order, Gfp::KERNEL));
        Ok(Home::Blocks(slots.collect::<Result<_, _>>()?))
    }

    fn take_cell(&mut self, class: usize) -> Result<Home, String> {
        let pages = &mut self.classes[class];
        let page = match pages.open.first() {
            Some(&page) => page,
            None => self.blocks.alloc(Order::ZERO, Gfp::KERNEL)?,
        };
        let nr_objects = pages.nr_objects.entry(page).or_default();
        *nr_objects += 1;
        match *nr_objects < capacity(class) {
            true => pages.open.insert(page),
            false => pages.open.remove(&page),
        };
        Ok(Home::Cell { class, page })
    }

    fn give_back(&mut self, home: &Home) -> Result<(), String> {
        match home {
            Home::Blocks(slots) => slots.iter().try_for_each(|&slot| self.blocks.free(slot)),
            Home::Cell { class, page } => self.give_back_cell(*class, *page),
        }
    }

    fn give_back_cell(&mut self, class: usize, page: u32) -> Result<(), String> {
        let pages = &mut self.classes[class];
        let nr_objects = pages
            .nr_objects
            .get_mut(&page)
            .expect("the page holds this object");
        *nr_objects -= 1;
        if *nr_objects > 0 {
            pages.open.insert(page);
            return Ok(());
        }
        pages.nr_objects.remove(&page);
        pages.open.remove(&page);
        self.blocks.free(page)
    }
}

/// Cells in a page of `class`.
fn capacity(class: usize) -> usize {
    (PAGE_SIZE / SMALLEST as usize) >> class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_find_their_place() {
        let order = |n| Order::new(n).ok();
        let fits = [
            (0, 0, Fit::Class(0)),
            (16, 0, Fit::Class(0)),
            (17, 0, Fit::Class(1)),
            (2048, 0, Fit::Class(7)),
            (8, 6, Fit::Class(2)),
            (
                2049,
                0,
                Fit::Blocks {
                    full: 0,
                    rest: order(0),
                },
            ),
            (
                4096,
                0,
                Fit::Blocks {
                    full: 0,
                    rest: order(0),
                },
            ),
            (
                100,
                14,
                Fit::Blocks {
                    full: 0,
                    rest: order(2),
                },
            ),
            (
                4 << 20,
                0,
                Fit::Blocks {
                    full: 1,
                    rest: None,
                },
            ),
            (
                (8 << 20) + 1,
                0,
                Fit::Blocks {
                    full: 2,
                    rest: order(0),
                },
            ),
        ];
        for (size, align, fit) in fits {
            assert_eq!(
                Fit::new(size, align),
                Ok(fit),
                "{size} aligned to 2^{align}"
            );
        }
        assert!(Fit::new(u64::MAX, 0).is_err());
        assert!(Fit::new(1, 23).is_err());
    }

    #[test]
    fn small_objects_share_a_page_until_the_last_is_gone() {
        let mut mapper = ObjectMapper::new("t");
        for id in 0..3 {
            mapper.alloc(id, 2000, 0).unwrap();
        }
        for id in 0..3 {
            mapper.free(id).unwrap();
        }
        let trace = mapper.finish().unwrap();
        assert_eq!(
            (trace.nr_allocs, trace.peak_pages, trace.pages_at_end),
            (2, 2, 0)
        );
    }

    #[test]
    fn a_realloc_moves_only_when_it_must() {
        let mut mapper = ObjectMapper::new("t");
        mapper.alloc(0, 5000, 0).unwrap();
        mapper.realloc(0, 8192).unwrap();
        assert_eq!(mapper.blocks.alloc(Order::ZERO, Gfp::KERNEL), Ok(1));
        mapper.realloc(0, 8193).unwrap();
        mapper.free(0).unwrap();
        let trace = mapper.finish().unwrap();
        assert_eq!(trace.nr_allocs, 3);
        assert_eq!(trace.peak_pages, 2 + 1 + 4);
    }
}
