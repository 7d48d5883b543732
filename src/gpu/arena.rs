//! Lifetimes of values to slot buffers. A pure function, tested without a GPU.
//!
//! WebGPU forbids one buffer as `read` and as `read_write` in one dispatch, even for disjoint ranges, so there is no
//! single arena: each slot is a buffer of its own, and values that live at the same time never share one.

/// When a value lives and how large it is. Steps are numbered in order; both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Step that writes it.
    pub first: usize,
    /// Last step that reads it; `usize::MAX` for outputs.
    pub last: usize,
    /// Size.
    pub bytes: u64,
}

/// Slots for a list of lifetimes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// Slot of each value, in the order given.
    pub of: Vec<usize>,
    /// Size of each slot.
    pub bytes: Vec<u64>,
}

/// Greedy: values in order of their first step; the tightest free slot that fits, else the largest free one grows,
/// else a new one.
pub fn assign(lifetimes: &[Lifetime]) -> Slots {
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&i| (lifetimes[i].first, std::cmp::Reverse(lifetimes[i].bytes)));
    let mut slots = Slots { of: vec![0; lifetimes.len()], bytes: Vec::new() };
    let mut busy_until: Vec<usize> = Vec::new();
    for i in order {
        let value = lifetimes[i];
        let free = |s: &usize| busy_until[*s] < value.first;
        let fitting = (0..busy_until.len()).filter(free).filter(|&s| slots.bytes[s] >= value.bytes).min_by_key(|&s| slots.bytes[s]);
        let largest = || (0..busy_until.len()).filter(free).max_by_key(|&s| slots.bytes[s]);
        let slot = fitting.or_else(largest).unwrap_or_else(|| {
            slots.bytes.push(0);
            busy_until.push(0);
            slots.bytes.len() - 1
        });
        slots.of[i] = slot;
        slots.bytes[slot] = slots.bytes[slot].max(value.bytes);
        busy_until[slot] = value.last;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chain_needs_two_slots() {
        let chain: Vec<_> = (0..10).map(|i| Lifetime { first: i, last: i + 1, bytes: 100 + i as u64 }).collect();
        let slots = assign(&chain);
        assert_eq!(slots.bytes.len(), 2);
        assert_eq!(slots.bytes.iter().sum::<u64>(), 108 + 109);
    }

    proptest! {
        #[test]
        fn values_alive_together_never_share(values in prop::collection::vec((0usize..40, 0usize..10, 1u64..1000), 1..60)) {
            let lifetimes: Vec<_> = values.iter().map(|&(first, len, bytes)| Lifetime { first, last: first + len, bytes }).collect();
            let slots = assign(&lifetimes);
            for (i, a) in lifetimes.iter().enumerate() {
                prop_assert!(slots.bytes[slots.of[i]] >= a.bytes);
                for (j, b) in lifetimes.iter().enumerate().skip(i + 1) {
                    let together = a.first <= b.last && b.first <= a.last;
                    prop_assert!(!(together && slots.of[i] == slots.of[j]), "{a:?} and {b:?} share slot {}", slots.of[i]);
                }
            }
        }
    }
}
