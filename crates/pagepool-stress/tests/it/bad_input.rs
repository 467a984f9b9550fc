//! Bad input and bad usage: exit status 2, and one line that says what and where.

use crate::support::{run, write};

#[track_caller]
fn assert_refused<'a>(args: impl IntoIterator<Item = &'a str>, parts: &[&str]) {
    let run = run(args);
    assert_eq!(run.status, 2, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    for part in parts {
        assert!(
            run.stderr.contains(part),
            "expected \"{part}\" in: {}",
            run.stderr
        );
    }
}

#[track_caller]
fn assert_trace_refused(name: &str, bytes: &[u8], place: &str) {
    let path = write(name, bytes);
    assert_refused(["replay", path.to_str().unwrap()], &[name, place]);
}

#[test]
fn broken_traces_are_refused_with_their_place() {
    for (name, text, place) in [
        ("bad1.pga", "A 0 0 1 140cca 0 0\nF 7\n", "line 2: block 7"),
        ("bad2.pga", "A 0 44 1 140cca 0 0\n", "line 1: order 44"),
        ("bad3.pga", "A 0 0 0 cc0 0 0\nF 0\nF 0\n", "line 3: block 0"),
        (
            "bad4.pga",
            "A 0 3 0 cc0 0 0\nS 0 9 1\n",
            "line 2: a block of order 3",
        ),
        ("bad1.mtr", "a 0 16\nf 0\nf 0\n", "line 3: object 0"),
        (
            "bad1.malloc.txt",
            "Alloc(16),\nFree(16),\n",
            "line 2: object 16",
        ),
        ("bad1.key.txt", "1\n2\nx\n", "line 3: page number"),
        ("bad1.pages", "R 1\nR -5\n", "line 2: page number"),
        (
            "bad1.vscsi.csv",
            "version,time,op,size,lbn\n1,2,2a,4096\n",
            "line 2: the lbn",
        ),
        ("bad1.lis", "1 1 0 1\n1 1\n", "line 2: the third field"),
        ("bad1.obj.txt", "1 1 1\n1 1 big\n", "line 2: size"),
        ("bad1.u32le", "12345", "byte 4: cut short"),
        ("bad1.u32be", "123", "byte 0: cut short"),
        ("bad1.u64be", "123456789", "byte 8: cut short"),
    ] {
        assert_trace_refused(name, text.as_bytes(), place);
    }
}

#[test]
fn empty_and_unknown_files_are_refused() {
    assert_trace_refused("empty.pga", b"", "byte 0: the file is empty");
    assert_trace_refused("blank.pga", b"\n\n", "no allocation");
    assert_trace_refused(
        "noise",
        &[0xfe; 64],
        "byte 0: neither the name nor the first line",
    );
    assert_refused(
        ["replay", "/no/such/trace.pga"],
        &["/no/such/trace.pga", "No such file"],
    );
    assert_refused(["replay", "/"], &["/: "]);
    assert_trace_refused(
        "long.pga",
        &[b'A'; 10_000],
        "line 1: longer than 4096 bytes",
    );
}

#[test]
fn a_file_that_may_not_be_read_is_refused() {
    let path = write("secret.pga", b"A 0 0 1 140cca 0 0\n");
    let nobody = std::os::unix::fs::PermissionsExt::from_mode(0o0);
    std::fs::set_permissions(&path, nobody).expect("our own file");
    // Root may read everything.
    if std::fs::File::open(&path).is_err() {
        let path = path.to_str().unwrap();
        assert_refused(["replay", path], &["secret.pga", "denied"]);
    }
    std::fs::remove_file(path).expect("our own folder");
}

/// A real trace that was cut anywhere is one line, whatever it is compressed by.
#[test]
fn traces_that_were_cut_short_are_refused() {
    let whole = include_bytes!("../../traces/sqlite.pages.zst");
    for part in [whole.len() / 2, whole.len() - 1] {
        assert_trace_refused(
            "cut.pages.zst",
            &whole[..part],
            "the compressed data is cut short",
        );
    }
}

#[test]
fn damaged_compression_is_refused() {
    let frame = [
        0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, 0x19, 0, 0, b'1', b'\n', b'2',
    ];
    assert_trace_refused(
        "cut.key.txt.zst",
        &frame[..11],
        "line 1: the compressed data is cut short",
    );
    assert_trace_refused("cut2.key.txt.zst", &frame[..4], "line 1: ");
    assert_trace_refused(
        "after.key.txt.zst",
        &[&frame[..], b"????"].concat(),
        "line 2: cannot be decompressed",
    );
    assert_trace_refused("plain.key.txt.zst", b"1\n2\n", "byte 0: named .zst");
    assert_trace_refused("cut.key.txt.gz", &[0x1f, 0x8b, 8, 0, 0], "line 1: ");
    assert_trace_refused(
        "cut.u32le.xz",
        &[0xfd, b'7', b'z', b'X', b'Z', 0, 0],
        "byte 0: ",
    );
}

#[test]
fn bad_usage_names_the_nearest() {
    assert_refused(["--sed", "1"], &["--sed", "--seed"]);
    assert_refused(["chrun"], &["chrun", "churn"]);
    assert_refused(["replay"], &["<FILE"]);
    assert_refused(["latncy"], &["latncy", "latency"]);
    assert_refused(["soka"], &["soka", "soak"]);
    assert_refused(
        ["replay", "x", "--polices", "lru"],
        &["--polices", "--policies"],
    );
    assert_refused(["latency", "--ordres", "0"], &["--ordres", "--orders"]);
    assert_refused(
        ["soak", "--state-evry", "1s"],
        &["--state-evry", "--state-every"],
    );
    assert_refused(["--progres", "none"], &["--progres", "--progress"]);
    assert_refused(["--progress", "plian"], &["plian", "plain"]);
    assert_refused(["--memory", "lots"], &["--memory", "lots", "64K"]);
    assert_refused(["--duration", "0s"], &["--duration"]);
    assert_refused(["--threads", "0"], &["--threads", "1..=1024"]);
    assert_refused(["churn", "--ops", "5"], &["--mixed"]);
    assert_refused(["replay", "x", "--format", "pgs"], &["pgs", "pga"]);
    assert_refused(["replay", "x", "--sizes", "0"], &["--sizes", "4K, or more"]);
    assert_refused(["replay", "x", "--sizes", "1%,101%"], &["101%", "100%"]);
    assert_refused(
        ["replay", "x", "--sizes", "99999999T"],
        &["--sizes", "99999999T"],
    );
    assert_refused(["replay", "x", "--policies", "ltu"], &["ltu", "lru"]);
    assert_refused(
        ["replay", "x", "--cache", "1%", "--policies", "lru"],
        &["--cache", "--policies"],
    );
    assert_refused(["latency", "--rate", "0"], &["--rate", "1 to 10M"]);
    assert_refused(
        ["latency", "--orders", "0:1,12:1"],
        &["--orders", "0 to 10"],
    );
    assert_refused(
        ["latency", "--raw-share", "90"],
        &["--raw-share 90", "--fill 1.2", "0.8"],
    );
    assert_refused(["overcommit", "--factor", "0"], &["--factor", "0.1 to 64"]);
    assert_refused(["overcommit", "--pattern", "zip"], &["zip", "zipf"]);
    assert_refused(
        ["overcommit", "--write-share", "101"],
        &["--write-share", "0..=100"],
    );
    assert_refused(["overcommit", "--groups", "1"], &["--groups", "2..=16"]);
    assert_refused(["overcommit", "--max", "1M"], &["--groups"]);
    assert_refused(
        ["overcommit", "--groups", "3", "--threads", "2"],
        &["--threads 2", "3 groups"],
    );
    assert_refused(
        ["overcommit", "--groups", "--high", "2M", "--max", "1M"],
        &["--high 2097152", "--max 1048576"],
    );
    assert_refused(
        ["overcommit", "--groups", "16", "--memory", "8M"],
        &["--memory 8388608", "16 groups", "17.0 MiB"],
    );
    assert_refused(["fragment", "--keep", "2"], &["--keep", "0 to 1"]);
    assert_refused(["faults", "--torn", "x"], &["--torn", "64K"]);
    assert_refused(["idle", "--hopeless", "--dead-store"], &["--dead-store"]);
    assert_refused(["soak", "--threads", "4"], &["--threads 4", "5 loads"]);
    assert_refused(["soak", "--state-every", "0s"], &["--state-every"]);
    assert_refused(["--swap", "1x"], &["--swap", "1x"]);
}

#[test]
fn impossible_pools_are_refused_with_the_field() {
    assert_refused(["churn", "--nodes", "17"], &["nodes", "17"]);
    assert_refused(["churn", "--memory", "1K"], &["memory", "1024"]);
    assert_refused(["overcommit", "--memory", "64K"], &["memory", "65536"]);
    assert_refused(
        ["overcommit", "--swap", "/no/such/folder/swap"],
        &["/no/such/folder/swap"],
    );
}

#[test]
fn a_report_needs_a_place_to_go() {
    assert_refused(
        ["churn", "--json", "/no/such/folder/report.json"],
        &["--json", "No such file"],
    );
    assert_refused(
        ["replay", "--traces", "/no/such/folder"],
        &["--traces", "No such file"],
    );
}

#[test]
fn more_is_not_made_resident_than_there_is() {
    assert_refused(
        ["churn", "--memory", "32M", "--prefault", "64M"],
        &["--prefault: cannot prefault 67108864 bytes of a pool that hands out"],
    );
    assert_refused(["churn", "--prefault", "much"], &["--prefault", "or all"]);
    assert_refused(
        ["churn", "--huge-pages", "some"],
        &["--huge-pages", "host, when-whole, always, never"],
    );
}
