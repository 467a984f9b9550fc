//! The figures of a pool for Prometheus: served over HTTP, read once, and some of them printed.
//!
//! ```sh
//! cargo run -p pagepool --features metrics --example metrics
//! cargo run -p pagepool --features metrics --example metrics -- --serve   # until it is stopped
//! ```

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use pagepool::{Gfp, GroupLimits, Order, PagePool, PoolCollector, SwapFile};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// What of all that is served is printed here.
const SHOWN: [&str; 8] = [
    "pagepool_budget_bytes",
    "pagepool_pressure_waiting_seconds_total",
    "pagepool_daemon_state{node=\"0\",daemon=\"kswapd\"",
    "pagepool_zone_free_bytes",
    "pagepool_free_blocks{node=\"0\",zone=\"Normal\",order=\"10\"",
    "pagepool_group_current_bytes",
    "pagepool_swap_area_used_bytes",
    "pagepool_vmstat_pgalloc_normal_total",
];

fn main() -> Result<(), Box<dyn Error>> {
    let pool = PagePool::builder()
        .memory(64 << 20)
        .swap(SwapFile::temporary(64 << 20)?)
        .build()?;
    let tenant = pool.create_group("tenant", GroupLimits::new().max(16 << 20))?;
    let _block = tenant.alloc_pages(Order::new(8)?, Gfp::KERNEL)?;

    let mut registry = Registry::default();
    registry.register_collector(Box::new(PoolCollector::new(&pool)));

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    println!("metrics at http://{address}/metrics");
    if std::env::args().any(|arg| arg == "--serve") {
        for stream in listener.incoming() {
            if let Err(error) = answer(stream?, &registry) {
                eprintln!("a reader got no answer: {error}");
            }
        }
    }

    let reader = thread::spawn(move || scrape(&format!("{address}")));
    answer(listener.accept()?.0, &registry)?;
    let metrics = reader.join().expect("it does not panic")?;
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    let (shown, others): (Vec<_>, Vec<_>) =
        samples.partition(|line| SHOWN.iter().any(|name| line.starts_with(name)));
    for line in shown {
        println!("{line}");
    }
    println!("and {} more", others.len());
    Ok(())
}

/// Answers one request, whatever it asks for.
fn answer(mut stream: TcpStream, registry: &Registry) -> Result<(), Box<dyn Error>> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(&stream).lines();
    // A request without a body ends with an empty line.
    while !lines.next().transpose()?.unwrap_or_default().is_empty() {}
    let mut body = String::new();
    text::encode(&mut body, registry)?;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\n\
         Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

fn scrape(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer
        .split_once("\r\n\r\n")
        .map_or(String::new(), |(_, body)| body.to_owned()))
}
