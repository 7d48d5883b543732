//! One function per kernel: check shapes, choose a variant, push one step. Knows no model.

mod affinity;
mod attention;
mod attention_maps;
mod ceiling;
mod choice;
mod color;
mod conv;
mod elementwise;
mod embed;
mod entity;
mod labels;
mod matmul;
mod norm;
mod outliers;
mod resize;
mod segment;
mod states;
mod tiles;
mod trie;
mod views;

pub use affinity::{affinity_bias, affinity_weights, aggregate, gram, row_mean};
pub use attention::{
    AttentionArgs, AttentionSum, Bias, WeightedPair, attention, attention_by, attention_kernels, attention_sum, attention_sum_by,
};
pub use attention_maps::{attention_scores, softmax, unit_values};
pub use ceiling::{Ceilings, FmaMeter, copy_ceiling, fma_ceiling};
pub use color::{load_texture, overlay_maps, overlay_maps_aligned, overlay_texture};
pub use conv::{Map, avg_pool, conv_stem, conv3x3, conv3x3_by, conv3x3_kernels, pool_embed};
pub use elementwise::{activation, add, gather_rows};
pub use embed::{patch_embed, patch_embed_by, patch_embed_kernels, token_embed};
pub use entity::{Related, blur_rows, logit_bias, patch_modes, same_entity, window_bias};
pub use labels::{Surgery, ensemble, feature_surgery, minmax, similarity};
pub use matmul::{
    Choice, MatmulArgs, Residual, Variant as MatmulVariant, choose as matmul_choice, matmul, matmul_by, shipped as matmul_shipped,
    unit_of as matmul_unit, variants as matmul_variants,
};
pub use norm::{LayerNormArgs, Merge, l2_normalize, layer_norm, layer_norm_by, layer_norm_kernels, mean_norm, unit_heads};
pub use outliers::{kth_distance, lof, outliers, repair};
pub use resize::{Resize, normalize, resize_u8, stretch_pixels, upsample, upsample_aligned, upsample_part, upsample_rows};
pub use segment::{Winner, pamr, pamr_weights, segment, segment_rules, stitch};
pub use states::{mean_filter, state_scores};
pub use tiles::Tiles;
pub use views::{Blur, VIEWS, merge_views, views};

use crate::error::{Error, Result};
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::shape::DType;

/// Workgroups for a linear grid, folded into y beyond the limit of one dimension.
fn fold(builder: &PlanBuilder, workgroups: u64) -> [u32; 3] {
    let limit = u64::from(builder.gpu().caps.max_workgroups);
    let x = workgroups.clamp(1, limit);
    let y = workgroups.div_ceil(x).max(1);
    [x as u32, y.min(u64::from(u32::MAX)) as u32, 1]
}

/// Workgroups of 64 threads for `threads` items.
fn fold_threads(builder: &PlanBuilder, threads: u64) -> [u32; 3] {
    fold(builder, threads.div_ceil(64))
}

fn expect_shape(op: &'static str, what: &'static str, tensor: &Tensor, expected: &[u32]) -> Result<()> {
    if tensor.shape() != expected {
        return Err(Error::shape(op, what, format!("{expected:?}"), format!("{:?}", tensor.shape())));
    }
    Ok(())
}

fn expect_dtype(op: &'static str, what: &'static str, got: DType, expected: DType) -> Result<()> {
    if got != expected {
        return Err(Error::shape(op, what, expected, got));
    }
    Ok(())
}

/// Activations are stored as f32 or f16 and are read four at a time.
fn expect_act(op: &'static str, what: &'static str, x: Value) -> Result<()> {
    if !matches!(x.dtype(), DType::F32 | DType::F16) {
        return Err(Error::shape(op, what, "f32 or f16", x.dtype()));
    }
    if !x.shape().width().is_multiple_of(4) {
        return Err(Error::shape(op, what, "a last dimension that is a multiple of 4", x.shape()));
    }
    Ok(())
}
