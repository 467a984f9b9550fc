//! A store of one's own under a pool: a table of pages whose log must be durable before they are.
//!
//! A storage engine changes pages in memory and writes a log. A page may reach its file only after the log
//! has, up to the last change of that page: until then the store answers `Held`, and the pool keeps the page
//! in memory and comes again.
//!
//! Run with `cargo run -p pagepool --example mapping`.

#![expect(clippy::disallowed_types, reason = "an example is not modelled")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use pagepool::{Backing, BackingError, FlushError, Gfp, Order, PAGE_SIZE, PagePool, WriteOut};

/// The file of pages, and how far the log is durable. Each page begins with the number of its last change.
#[derive(Default)]
struct Table {
    pages: HashMap<u64, Vec<u8>>,
    durable: u64,
    held: usize,
}

#[derive(Clone, Default)]
struct Engine(Arc<Mutex<Table>>);

impl Engine {
    fn sync_log(&self, up_to: u64) {
        self.0.lock().unwrap().durable = up_to;
    }
}

fn change_of(page: &[u8]) -> u64 {
    u64::from_le_bytes(page[..8].try_into().expect("8 bytes"))
}

// Called on threads of the pool, never on one that uses a folio: it may take the engine's locks.
impl Backing for Engine {
    fn read_in(&self, page: u64, bytes: &mut [u8]) -> Result<(), BackingError> {
        let table = self.0.lock().unwrap();
        for (page, bytes) in (page..).zip(bytes.chunks_exact_mut(PAGE_SIZE)) {
            match table.pages.get(&page) {
                Some(kept) => bytes.copy_from_slice(kept),
                None => bytes.fill(0),
            }
        }
        Ok(())
    }

    fn write_out(&self, page: u64, bytes: &[u8]) -> Result<WriteOut, BackingError> {
        let mut table = self.0.lock().unwrap();
        if bytes
            .chunks_exact(PAGE_SIZE)
            .any(|page| change_of(page) > table.durable)
        {
            table.held += 1;
            return Ok(WriteOut::Held);
        }
        for (page, bytes) in (page..).zip(bytes.chunks_exact(PAGE_SIZE)) {
            table.pages.insert(page, bytes.to_vec());
        }
        Ok(WriteOut::Written)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = PagePool::builder()
        .memory(16 << 20)
        .max_stores(1)
        .max_folios(10_000)
        .build()?;
    let engine = Engine::default();
    let mapping = pool.map_backing(engine.clone())?;

    // The log is not durable yet: the page cannot be written out, and stays in memory.
    let mut folio = mapping.folio(0, Order::ZERO)?;
    folio.write()?[..8].copy_from_slice(&1_u64.to_le_bytes());
    assert_eq!(folio.flush(), Err(FlushError::Held));
    println!("change 1 is held back: dirty {}", folio.is_dirty());

    // Not even when memory is short.
    let gfp = Gfp::KERNEL | Gfp::NORETRY;
    let hungry: Vec<_> = std::iter::from_fn(|| pool.alloc_pages(Order::ZERO, gfp).ok()).collect();
    println!(
        "somebody took {} pages, and the change is still in memory",
        hungry.len()
    );
    assert!(folio.is_resident() && engine.0.lock().unwrap().pages.is_empty());
    drop(hungry);

    // Now the log is durable.
    engine.sync_log(1);
    folio.flush()?;
    println!("change 1 is written: dirty {}", folio.is_dirty());
    drop(folio);

    // A table larger than memory: what is dirty is written out as memory gets short, and what is clean is
    // dropped, to be read in again when it is touched.
    engine.sync_log(u64::MAX);
    let folios = (0..8192).map(|page| mapping.folio(page, Order::ZERO));
    let mut folios = folios.collect::<Result<Vec<_>, _>>()?;
    for (change, folio) in (100_u64..).zip(&mut folios) {
        // In a real engine, after the change was appended to the log.
        folio.write()?[..8].copy_from_slice(&change.to_le_bytes());
    }
    let here = folios.iter().filter(|folio| folio.is_resident()).count();
    println!("{here} of {} pages are in memory", folios.len());
    for (change, folio) in (100..).zip(&folios) {
        assert_eq!(change_of(&folio.read()?), change);
        folio.flush()?;
    }
    let table = engine.0.lock().unwrap();
    println!(
        "{} pages are in the table; {} times one was held back",
        table.pages.len(),
        table.held
    );
    assert_eq!(table.pages.len(), 8192);
    Ok(())
}
