//! Every kernel on the GPU against its definition in `lancet::reference`, at sizes that are no multiple of any tile,
//! on a device with all that the adapter offers and on one with WebGPU's default limits and no feature.

#[path = "../common/mod.rs"]
mod common;

mod attention;
mod ceilings;
mod conv;
mod dense;
mod entity;
mod linear;
mod maps;
mod pixels;
mod plans;
mod rows;
mod segments;
mod views;

use common::{Rig, Tolerance, compare, rigs};
use lancet::gpu::kernel::Kernel;
use lancet::gpu::kernel::kernels;
use lancet::shape::DType;

/// Token counts that no tile divides, as models have them: 1 alone, 50, 197, 257 with a class token, 77 of a text.
const ROWS: [u32; 7] = [1, 7, 50, 77, 197, 257, 1025];

/// Storage of activations and of weights.
const STORAGE: [(DType, DType); 4] =
    [(DType::F32, DType::F32), (DType::F32, DType::F16), (DType::F16, DType::F32), (DType::F16, DType::F16)];
const ACTS: [DType; 2] = [DType::F32, DType::F16];

/// One test per kernel, named like it, and the list of them.
macro_rules! cases {
    ($($module:ident: $($kernel:ident)*;)*) => {
        const COVERED: &[&str] = &[$($(stringify!($kernel)),*),*];
        mod kernel {
            $($(
                #[test]
                fn $kernel() {
                    for rig in super::rigs() {
                        super::$module::$kernel(&super::Case { rig, kernel: stringify!($kernel) });
                    }
                }
            )*)*
        }
    };
}

cases! {
    attention: attention attention_scores softmax;
    ceilings: fma_ceiling copy_ceiling;
    conv: conv3x3 conv_stem avg_pool pool_embed unit_values;
    dense: gram affinity_weights aggregate affinity_bias row_mean kth_distance lof outliers repair;
    entity: patch_modes same_entity blur_rows logit_bias window_bias;
    linear: matmul matmul_reduce patch_embed token_embed gather_rows;
    maps: ensemble similarity feature_surgery minmax upsample stretch_pixels state_scores mean_filter;
    pixels: resize_u8 normalize overlay_maps load_texture overlay_texture;
    rows: layer_norm l2_normalize unit_heads mean_norm activation add;
    segments: stitch pamr_weights pamr segment;
    views: views merge_views;
}

/// What a case function works with.
struct Case {
    rig: &'static Rig,
    kernel: &'static str,
}

impl Case {
    /// The case of one kernel of several behind an op.
    fn by(&self, kernel: &'static Kernel) -> Case {
        Case { rig: self.rig, kernel: kernel.name }
    }

    /// Checks that `got` came from this kernel and agrees with the reference.
    #[track_caller]
    fn close(&self, what: &str, got: &common::Output, want: &[f32], tolerance: Tolerance) {
        self.ran(got);
        common::assert_close(&self.label(what), got, want, tolerance.stored_as(got.dtype));
    }

    /// As [`Case::close`], to the last bit.
    #[track_caller]
    fn exact(&self, what: &str, got: &common::Output, want: &[u32]) {
        self.ran(got);
        common::assert_exact(&self.label(what), &got.shape, &got.words(), want);
    }

    #[track_caller]
    fn ran(&self, got: &common::Output) {
        assert!(got.kernels.contains(&self.kernel), "{}: the plan ran {:?}", self.kernel, got.kernels);
    }

    fn label(&self, what: &str) -> String {
        format!("{} on the {} device ({}), {what}", self.kernel, self.rig.name, self.rig.engine.caps().adapter)
    }
}

/// Kernels of cooperative matrices, which few machines have, by what such matrices compute.
#[test]
fn matmul_by_emulated_matrices() {
    for rig in common::emulated_rigs() {
        linear::matmul(&Case { rig, kernel: "matmul" });
    }
}

#[test]
fn attention_by_emulated_matrices() {
    let runs = |rig: &&Rig| lancet::ops::attention_kernels(rig.engine.caps(), 64, DType::F16).any(|k| (rig.takes)(k));
    let rigs: Vec<_> = common::emulated_rigs().iter().filter(runs).collect();
    assert_eq!(rigs.iter().map(|r| r.name).collect::<Vec<_>>(), ["emulated, 32 lanes", "emulated, 64 lanes"]);
    for rig in rigs {
        attention::attention(&Case { rig, kernel: "attention" });
    }
}

#[test]
fn every_kernel_has_a_case() {
    let mut covered = COVERED.to_vec();
    covered.sort_unstable();
    // A family's case runs every kernel of it.
    let all: Vec<_> = kernels::ALL.iter().map(|k| k.family).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    assert_eq!(covered, all, "cases! in tests/kernels/main.rs must list every kernel or family of shaders/");
}

#[test]
fn a_wrong_expectation_fails() {
    let tolerance = common::FEW_ROUNDINGS;
    let want = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    assert_eq!(compare("op", &[2, 3], &want, &want, tolerance), Ok(()));
    for (i, bad) in [(0, 1.001), (4, f32::NAN), (5, f32::INFINITY)] {
        let mut got = want;
        got[i] = bad;
        let message = compare("op", &[2, 3], &got, &want, tolerance).expect_err("a wrong element was accepted");
        for part in ["op", "[2, 3]", &format!("{:?}", [i / 3, i % 3]), &bad.to_string(), &want[i].to_string(), "1 of 6"] {
            assert!(message.contains(part), "no {part} in: {message}");
        }
    }
    assert!(compare("op", &[5], &want[..5], &want, tolerance).is_err(), "a short result was accepted");
    assert!(compare("op", &[6], &[f32::NAN; 6], &[f32::NAN; 6], tolerance).is_err(), "NaN was accepted for NaN");
}

/// The output is poisoned and the comparison is live: a kernel against a reference with another parameter must fail.
#[test]
fn a_wrong_reference_fails() {
    let rig = common::default_rig();
    let x = common::Random::new(1).floats(7 * 20, 2.0, DType::F32);
    let tensor = common::upload(rig, &[7, 20], DType::F32, &x);
    let got = common::run(rig, |b| {
        let x = b.import(&tensor);
        lancet::ops::activation(b, "x", x, lancet::reference::Activation::QuickGelu)
    });
    let gelu = lancet::reference::activation(&x, lancet::reference::Activation::Gelu);
    assert!(compare("activation", &got.shape, &got.floats(), &gelu, common::FEW_ROUNDINGS).is_err());
}
