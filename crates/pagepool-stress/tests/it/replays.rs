//! Every format is replayed and verified, from small traces made here.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

use crate::support::{replay, verified_json, write};

const PGA: &str = "A 0 0 1 140cca 0 0\nF 0\n";

/// [`PGA`] as the zstd tool compresses it, with a checksum.
const PGA_ZST: [u8; 36] = [
    0x28, 0xb5, 0x2f, 0xfd, 0x24, 0x17, 0xb9, 0x00, 0x00, 0x41, 0x20, 0x30, 0x20, 0x30, 0x20, 0x31,
    0x20, 0x31, 0x34, 0x30, 0x63, 0x63, 0x61, 0x20, 0x30, 0x20, 0x30, 0x0a, 0x46, 0x20, 0x30, 0x0a,
    0xf0, 0x78, 0xd6, 0xe6,
];

/// [`PGA`] as the xz tool compresses it.
const PGA_XZ: [u8; 80] = [
    0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01,
    0x16, 0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x16, 0x41, 0x20, 0x30, 0x20, 0x30,
    0x20, 0x31, 0x20, 0x31, 0x34, 0x30, 0x63, 0x63, 0x61, 0x20, 0x30, 0x20, 0x30, 0x0a, 0x46, 0x20,
    0x30, 0x0a, 0x00, 0x00, 0x15, 0x15, 0x22, 0xeb, 0x8b, 0xcf, 0xab, 0x7c, 0x00, 0x01, 0x2f, 0x17,
    0x81, 0x08, 0x49, 0xb1, 0x1f, 0xb6, 0xf3, 0x7d, 0x01, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
];

/// A loop over ten pages, three times, as text.
fn ten_pages_thrice(line: impl Fn(u64) -> String) -> String {
    (0..30).map(|n| line(n % 10) + "\n").collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

#[track_caller]
fn assert_loop_misses_all(name: &str, bytes: &[u8]) {
    let phase = replay(name, bytes);
    // Half of ten pages is held, and a loop is the worst for the least recently used.
    assert_eq!(phase["cache"]["footprint_pages"], 10, "{name}");
    assert_eq!(phase["cache"]["limit_pages"], 5, "{name}");
    assert_eq!(phase["cache"]["misses"], 30, "{name}");
    assert_eq!(phase["cache"]["evictions"], 25, "{name}");
    assert_eq!(phase["ops"], 30, "{name}");
}

#[test]
fn every_format_of_references_is_replayed() {
    let text = |line: fn(u64) -> String| ten_pages_thrice(line).into_bytes();
    assert_loop_misses_all("loop.key.txt", &text(|n| n.to_string()));
    assert_loop_misses_all(
        "loop.pages",
        &text(|n| format!("{} {n}", ["R", "W"][n as usize % 2])),
    );
    assert_loop_misses_all("loop.obj.txt", &text(|n| format!("1 {n} 4096")));
    assert_loop_misses_all("loop.lis", &text(|n| format!("{} 8 0 {n}", n * 8)));
    assert_loop_misses_all("OLTP.lis", &text(|n| format!("{n} 1 0 {n}")));
    let requests = ten_pages_thrice(|n| format!("1,{n},2a,4096,{}", n * 8));
    assert_loop_misses_all(
        "loop.vscsi.csv",
        ("version,time,op,size,lbn\n".to_owned() + &requests).as_bytes(),
    );
    let integers =
        |encode: fn(u32) -> Vec<u8>| (0..30).flat_map(|n| encode(n % 10)).collect::<Vec<_>>();
    assert_loop_misses_all("loop.u32le", &integers(|n| n.to_le_bytes().to_vec()));
    assert_loop_misses_all("loop.u32be", &integers(|n| n.to_be_bytes().to_vec()));
    assert_loop_misses_all(
        "loop.u64be",
        &integers(|n| u64::from(n).to_be_bytes().to_vec()),
    );
}

#[test]
fn hits_are_verified() {
    let phase = replay("hits.pages", b"W 1\nR 1\nW 1\nR 1\nR 2\n");
    assert_eq!(
        (&phase["cache"]["hits"], &phase["cache"]["misses"]),
        (&3.into(), &2.into())
    );
    // Two blocks seen to be zero on arrival, three hits, two blocks read when they go.
    assert_eq!(phase["verified_bytes"], (2 + 3 + 2) * 4096);
}

#[test]
fn objects_take_blocks_of_their_order() {
    let phase = replay("sizes.obj.txt", b"1 1 10\n2 2 9000\n3 3 99999999\n");
    assert_eq!(phase["cache"]["footprint_pages"], 5);
    assert!(
        phase["facts"]["notes"].to_string().contains("1 requests"),
        "{phase}"
    );
}

#[test]
fn a_kernel_trace_splits_and_leaves_blocks() {
    let text = "A 0 3 0 cc0 10 0\nA 1 0 1 140cca 20 5\nS 0 1 2\nF 3\nX 9 1 1c20ca\nF 1\n";
    let phase = replay("small.pga", text.as_bytes());
    assert_eq!((&phase["allocs"], &phase["splits"]), (&2.into(), &1.into()));
    assert_eq!(phase["held_pages"], 6);
    // Two frees of the trace, three blocks left over.
    assert_eq!(phase["frees"], 5);
}

#[test]
fn malloc_traces_become_blocks() {
    let phase = replay(
        "small.mtr",
        b"t 1\na 0 5000\nc 1 24\nm 2 100 13\nr 0 20000\nf 1\n",
    );
    assert_eq!(phase["allocs"], 4);
    assert_eq!(phase["held_pages"], 10);
    let phase = replay("small.malloc.txt", b"Alloc(552),\nAlloc(9000),\nFree(1),\n");
    assert_eq!(
        (&phase["allocs"], &phase["held_pages"]),
        (&2.into(), &1.into())
    );
}

#[test]
fn compression_is_taken_off() {
    for (name, bytes) in [
        ("c.pga", PGA.as_bytes().to_vec()),
        ("c.pga.zst", PGA_ZST.to_vec()),
        ("c.pga.xz", PGA_XZ.to_vec()),
        ("c.pga.gz", gzip(PGA.as_bytes())),
        // Told by the first bytes, whatever the name.
        ("d.pga", PGA_ZST.to_vec()),
    ] {
        assert_eq!(replay(name, &bytes)["allocs"], 1, "{name}");
    }
}

#[test]
fn content_or_the_option_tells_what_the_name_does_not() {
    assert_eq!(replay("nameless", PGA.as_bytes())["allocs"], 1);
    let path = write("integers.bin", &[0; 8]);
    let report = verified_json([
        "replay",
        path.to_str().unwrap(),
        "--format",
        "u32be",
        "--seed",
        "5",
    ]);
    assert_eq!((&report["ops"], &report["seed"]), (&2.into(), &5.into()));
}

#[test]
fn several_traces_and_threads_add_up() {
    let pga = write("several.pga", PGA.as_bytes());
    let keys = write("several.key.txt", b"1\n2\n1\n");
    let report = verified_json([
        "replay",
        pga.to_str().unwrap(),
        keys.to_str().unwrap(),
        "--threads",
        "3",
        "--cache",
        "100%",
    ]);
    let phases = report["phases"].as_array().unwrap();
    let ops: Vec<u64> = phases
        .iter()
        .map(|phase| phase["ops"].as_u64().unwrap())
        .collect();
    assert_eq!(ops, [3 * 2, 3 * 3]);
    assert_eq!(report["ops"], 15);
    assert_eq!(phases[1]["cache"]["hits"], 3);
}

#[test]
fn a_folder_of_traces_is_replayed() {
    let folder = write("folder/a.pga", PGA.as_bytes());
    write("folder/b.key.txt", b"1\n");
    write("folder/README.md", b"not a trace");
    let folder = folder.parent().unwrap().to_str().unwrap().to_owned();
    let report = verified_json(["replay", "--traces", &folder]);
    assert_eq!(report["phases"].as_array().unwrap().len(), 2);
    let report = verified_json(["replay", "b.key.txt", "--traces", &folder]);
    assert_eq!(report["phases"][0]["name"], "b.key.txt, 256.0 KiB");
}

#[test]
fn a_kernel_file_beside_the_trace_is_shown() {
    let folder = write("kernel/k.pga", PGA.as_bytes());
    write(
        "kernel/k.kernel.txt",
        include_bytes!("../../traces/guest-a.kernel.txt"),
    );
    let report = verified_json(["replay", folder.to_str().unwrap()]);
    let zones = &report["phases"][0]["facts"]["kernel"]["zones"];
    assert_eq!(zones[1]["name"], "DMA32");
    assert_eq!(zones[1]["unusable_index"][9], 1.0);
}
