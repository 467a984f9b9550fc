//! Requests that wait for memory that others free.

use std::thread;

use super::*;
use crate::node::fixture::nodes;
use crate::sync::clock;
use crate::sync::cpu::with_cpu;
use crate::zone::sizing::PcpSizes;

#[test]
fn a_request_that_waits_ends_by_its_deadline() {
    let nodes = nodes(&[[0, 64, 0]], 8);
    exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    for patience in [Duration::ZERO, 50 * MS] {
        let placement = Placement {
            patience: Some(patience),
            ..Placement::default()
        };
        let start = clock::now();
        let refused = bare(&nodes, AGES).alloc_placed(Order::ZERO, Gfp::KERNEL, placement);
        let took = clock::now().saturating_duration_since(start);
        assert_eq!(refused.unwrap_err(), AllocError::BelowMin);
        assert!((patience..patience + SLACK).contains(&took), "{took:?}");
    }
}

#[test]
fn an_endless_deadline_is_no_deadline() {
    let nodes = nodes(&[[0, 64, 0]], 8);
    let (pages, _) = exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            bare(&nodes, Duration::MAX)
                .alloc(Order::ZERO, Gfp::KERNEL)
                .is_ok()
        });
        thread::sleep(20 * MS);
        nodes.give(pages[0], 0);
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn a_waiter_gets_what_another_thread_frees_although_its_cpu_would_cache_it() {
    for high in [0, 100] {
        let nodes = nodes(&[[0, 1024, 0]], 64);
        let (pages, _) = exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
        nodes.normal(0).set_pcp_sizes(PcpSizes {
            batch: 8,
            high,
            blocks: 0,
        });
        thread::scope(|scope| {
            let allocator = bare(&nodes, AGES);
            let waiter =
                scope.spawn(move || with_cpu(0, || allocator.alloc(Order::ZERO, Gfp::KERNEL)));
            while !nodes.freed().has_sleeper() {
                thread::yield_now();
            }
            let start = clock::now();
            with_cpu(1, || nodes.give(pages[0], 0));
            waiter.join().unwrap().unwrap();
            let took = clock::now().saturating_duration_since(start);
            assert!(took < SLACK, "high {high}: {took:?}");
        });
        nodes.verify().unwrap();
    }
}

#[test]
fn many_waiters_each_get_a_block() {
    let nodes = nodes(&[[0, 1024, 0]], 64);
    let (pages, _) = exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    nodes.normal(0).set_pcp_sizes(PcpSizes {
        batch: 8,
        high: 100,
        blocks: 0,
    });
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..6)
            .map(|cpu| {
                let allocator = bare(&nodes, AGES);
                scope.spawn(move || with_cpu(cpu, || allocator.alloc(Order::ZERO, Gfp::KERNEL)))
            })
            .collect();
        for (cpu, pfn) in pages[..6].iter().enumerate() {
            thread::sleep(MS);
            with_cpu(cpu, || nodes.give(*pfn, 0));
        }
        for waiter in waiters {
            waiter.join().unwrap().unwrap();
        }
    });
    nodes.verify().unwrap();
}
