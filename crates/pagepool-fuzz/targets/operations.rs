//! A pool against a list of operations; see `pagepool_fuzz::operations`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| pagepool_fuzz::operations(input));

/// Without the fuzzer: plays the files that it is given, such as the one a crash left behind.
#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    pagepool_fuzz::play_files(pagepool_fuzz::operations)
}
