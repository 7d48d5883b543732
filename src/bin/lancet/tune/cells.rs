//! From measured shapes to rules: each shape stands for its surroundings, up to half-way (by ratio) to the next one.

use super::measure::{Measured, Storage};
use lancet::gpu::tuning::{ANY, Rule};
use lancet::ops::Choice;
use std::ops::RangeInclusive;

/// Rules for what was measured. For each storage the kernel that is best on the whole ends its part of the list; only shapes
/// with another winner get a rule of their own before it.
pub fn rules(measured: &[Measured]) -> Vec<Rule> {
    let mut storages: Vec<Storage> = Vec::new();
    for m in measured.iter().filter(|m| !m.timed.is_empty()) {
        if !storages.contains(&m.storage) {
            storages.push(m.storage);
        }
    }
    storages.into_iter().flat_map(|storage| of_storage(&measured.iter().filter(|m| m.storage == storage).collect::<Vec<_>>())).collect()
}

fn of_storage(measured: &[&Measured]) -> Vec<Rule> {
    let Some(Storage { act, weight }) = measured.first().map(|m| m.storage) else { return Vec::new() };
    let rule = |[m, n, k]: [RangeInclusive<u32>; 3], choice: Choice| Rule {
        act: Some(act),
        weight: Some(weight),
        m,
        n,
        k,
        kernel: choice.kernel,
        slices: choice.slices,
    };
    let usual = on_the_whole(measured);
    let mut ends: [Vec<u32>; 3] = Default::default();
    for (d, values) in ends.iter_mut().enumerate() {
        values.extend(measured.iter().map(|m| m.product.shape[d]));
        values.sort_unstable();
        values.dedup();
    }
    let mut all: Vec<Rule> = Vec::new();
    for m in measured.iter().filter(|m| m.winner().choice != usual) {
        let cell = [0, 1, 2].map(|d| around(&ends[d], m.product.shape[d]));
        let new = rule(cell, m.winner().choice);
        // Two models may share a shape.
        if !all.iter().any(|r| (&r.m, &r.n, &r.k) == (&new.m, &new.n, &new.k)) {
            all.push(new);
        }
    }
    all.push(rule([ANY, ANY, ANY], usual));
    all
}

/// Values nearer to `value` than to its neighbours in `sorted`; open at both ends.
fn around(sorted: &[u32], value: u32) -> RangeInclusive<u32> {
    let middle = |a: u32, b: u32| (f64::from(a) * f64::from(b)).sqrt() as u32;
    let at = sorted.partition_point(|&v| v < value);
    let low = at.checked_sub(1).map_or(0, |i| middle(sorted[i], value) + 1);
    let high = sorted.get(at + 1).map_or(u32::MAX, |&next| middle(value, next));
    low..=high
}

/// The choice that wins the most time where it was measured, against each shape's own best: the smallest sum of ratios among
/// kernels that every shape has. Whole sums only: slices belong to shapes.
fn on_the_whole(measured: &[&Measured]) -> Choice {
    let ratio = |choice: Choice| -> Option<f64> {
        measured.iter().map(|m| Some(m.timed.iter().find(|t| t.choice == choice)?.ms / m.winner().ms)).sum()
    };
    let candidates = measured[0].timed.iter().map(|t| t.choice).filter(|c| c.slices == 1);
    let best = candidates.filter_map(|c| Some((c, ratio(c)?))).min_by(|a, b| a.1.total_cmp(&b.1));
    best.map_or(measured[0].shipped, |b| b.0)
}

#[cfg(test)]
mod tests {
    use super::super::measure::Timed;
    use super::super::products::Product;
    use super::*;
    use lancet::gpu::kernel::kernels;
    use lancet::shape::DType;

    fn measured(shape: [u32; 3], ms: [f64; 2]) -> Measured {
        let choices = [&kernels::matmul::KERNEL, &kernels::matmul_workgroup_64::KERNEL].map(Choice::whole);
        let mut timed: Vec<Timed> = choices.into_iter().zip(ms).map(|(choice, ms)| Timed { choice, ms, rounds: 1 }).collect();
        timed.sort_by(|a, b| a.ms.total_cmp(&b.ms));
        let product = Product { name: String::new(), shape };
        Measured { product, storage: Storage { act: DType::F32, weight: DType::F32 }, shipped: choices[0], timed }
    }

    #[test]
    fn shapes_that_differ_from_the_usual_get_a_cell() {
        let all = [
            measured([50, 768, 768], [1.0, 0.5]),
            measured([200, 768, 768], [1.0, 2.0]),
            measured([200, 3072, 768], [1.0, 2.0]),
            // Within noise of the shipped choice.
            measured([200, 768, 3072], [1.0, 0.99]),
        ];
        let text: Vec<String> = rules(&all).iter().map(Rule::to_string).collect();
        assert_eq!(text, ["f32 f32 ..100 ..1536 ..1536 matmul_workgroup_64 1", "f32 f32 * * * matmul 1"]);
    }

    #[test]
    fn cells_meet_without_a_gap() {
        let values = [49, 50, 197, 257, 12544];
        let cells: Vec<_> = values.iter().map(|&v| around(&values, v)).collect();
        assert_eq!((*cells[0].start(), *cells[4].end()), (0, u32::MAX));
        for (pair, values) in cells.windows(2).zip(values.windows(2)) {
            assert_eq!(*pair[0].end() + 1, *pair[1].start(), "{values:?}");
        }
        assert!(values.iter().zip(&cells).all(|(v, cell)| cell.contains(v)));
    }
}
