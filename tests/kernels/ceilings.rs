//! Kernels that measure a device: they must do the work that they are timed for.

use crate::Case;
use crate::common::{Random, Tolerance, run, upload, upload_u32};
use lancet::ops;
use lancet::reference;
use lancet::shape::DType;

pub fn fma_ceiling(case: &Case) {
    // Chains contract, so errors do not grow with their length: a few roundings of eight sums near 4.
    let tolerance = Tolerance { absolute: 2e-5, relative: 2e-6 };
    // The last one folds its workgroups.
    for (threads, rounds, scale) in [(1u32, 0u32, 0.5f32), (7, 1, -0.75), (65, 3, 0.5), (257, 20, 0.875), (4_194_305, 0, 0.5)] {
        let x = Random::new(u64::from(threads)).floats(threads as usize, 1.0, DType::F32);
        let tensor = upload(case.rig, &[threads], DType::F32, &x);
        let got = run(case.rig, |b| {
            let x = b.import(&tensor);
            ops::fma_ceiling(b, "y", x, rounds, scale)
        });
        let want = reference::fma_ceiling(&x, rounds as usize, scale);
        case.close(&format!("{threads} threads, {rounds} rounds, scale {scale}"), &got, &want, tolerance);
    }
}

pub fn copy_ceiling(case: &Case) {
    for rows in [1u32, 7, 255, 257, 1_000_003] {
        let x: Vec<u32> = (0..4 * rows).map(|i| i.wrapping_mul(2_654_435_761)).collect();
        let tensor = upload_u32(case.rig, &[rows, 4], &x);
        let got = run(case.rig, |b| {
            let x = b.import(&tensor);
            ops::copy_ceiling(b, "y", x)
        });
        case.exact(&format!("{rows} rows"), &got, &x);
    }
}
