//! The plain-Rust definition of every GPU kernel, on slices.
//!
//! One file per kernel, under the kernel's own name. These functions say what a kernel computes; the shaders are tested
//! against them. They are written to be read, not to be fast: sums run in `f64`, inputs and outputs are row-major `f32`,
//! and nothing here knows any other part of the crate.
//!
//! Letters in shapes: B images, N patches, T packed tokens, C width, H heads, D joint embedding width, L labels,
//! M templates. Where a shape has 1+N tokens, token 0 is the class token and the patches follow row by row.

mod activation;
mod add;
mod affinity_bias;
mod affinity_weights;
mod aggregate;
mod attention;
mod attention_scores;
mod attention_sum;
mod avg_pool;
mod blur_rows;
mod conv3x3;
mod conv_stem;
mod ensemble;
mod feature_surgery;
mod gather_rows;
mod gram;
mod kth_distance;
mod l2_normalize;
mod layer_norm;
mod lof;
mod logit_bias;
mod matmul;
mod mean_filter;
mod mean_norm;
mod minmax;
mod normalize;
mod outliers;
mod overlay_maps;
mod overlay_texture;
mod pamr;
mod pamr_weights;
mod patch_embed;
mod patch_modes;
mod pool_embed;
mod repair;
mod resize_u8;
mod row_mean;
mod same_entity;
mod segment;
mod similarity;
mod softmax;
mod state_scores;
mod stitch;
mod token_embed;
mod unit_heads;
mod unit_values;
mod upsample;

pub use activation::{Activation, activation, gelu, quick_gelu};
pub use add::{Addend, add};
pub use affinity_bias::affinity_bias;
pub use affinity_weights::affinity_weights;
pub use aggregate::aggregate;
pub use attention::{Heads, Projection, Segment, attention, attention_map, attention_trie};
pub use attention_scores::attention_scores;
pub use attention_sum::{SumTerm, attention_sum};
pub use avg_pool::avg_pool;
pub use blur_rows::{blur_rows, gaussian_taps};
pub use conv_stem::conv_stem;
pub use conv3x3::conv3x3;
pub use ensemble::ensemble;
pub use feature_surgery::{feature_surgery_labels, feature_surgery_reference};
pub use gather_rows::gather_rows;
pub use gram::{Pair, gram};
pub use kth_distance::kth_distance;
pub use l2_normalize::l2_normalize;
pub use layer_norm::{layer_norm, layer_norm_merged};
pub use lof::lof;
pub use logit_bias::{NO_TOKEN, gaussian_window, logit_bias};
pub use matmul::matmul;
pub use mean_filter::mean_filter;
pub use mean_norm::mean_norm;
pub use minmax::minmax;
pub use normalize::normalize;
pub use outliers::outliers;
pub(crate) use outliers::quantile_rank;
pub use overlay_maps::overlay_maps;
pub use overlay_texture::{jet, overlay_texture};
pub use pamr::pamr;
pub use pamr_weights::pamr_weights;
pub use patch_embed::patch_embed;
pub use patch_modes::patch_modes;
pub use pool_embed::pool_embed;
pub use repair::repair;
pub use resize_u8::{Taps, resize_axis_u8, resize_u8};
pub use row_mean::row_mean;
pub use same_entity::same_entity;
pub use segment::segment;
pub use similarity::similarity;
pub use softmax::softmax;
pub use state_scores::state_scores;
pub use stitch::{Windows, stitch};
pub use token_embed::token_embed;
pub use unit_heads::unit_heads;
pub use unit_values::unit_values;
pub(crate) use upsample::neighbours;
pub use upsample::{Align, upsample, upsample_aligned};
