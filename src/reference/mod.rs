//! The plain-Rust definition of every GPU kernel, on slices.
//!
//! One file per kernel, under the kernel's own name. These functions say what a kernel computes; the shaders are tested
//! against them. They are written to be read, not to be fast: sums run in `f64`, inputs and outputs are row-major `f32`,
//! and nothing here knows any other part of the crate.
//!
//! Letters in shapes: B images, N patches, T packed tokens, C width, H heads, D joint embedding width, L labels,
//! M templates. Where a shape has 1+N tokens, token 0 is the class token and the patches follow row by row.

mod activation;
mod attention;
mod attention_scores;
mod avg_pool;
mod conv3x3;
mod conv_stem;
mod ensemble;
mod feature_surgery;
mod gather_rows;
mod l2_normalize;
mod layer_norm;
mod matmul;
mod matmul_reduce;
mod minmax;
mod normalize;

mod overlay_maps;
mod overlay_texture;
mod pamr;
mod pamr_weights;
mod patch_embed;
mod pool_embed;
mod resize_u8;
mod segment;
mod similarity;
mod softmax;
mod stitch;
mod token_embed;
mod unit_values;
mod upsample;

pub use activation::{Activation, activation, gelu, quick_gelu};
pub use attention::{Heads, Projection, Segment, attention, attention_map, attention_trie};
pub use attention_scores::attention_scores;
pub use avg_pool::avg_pool;
pub use conv_stem::conv_stem;
pub use conv3x3::conv3x3;
pub use ensemble::ensemble;
pub use feature_surgery::{feature_surgery_labels, feature_surgery_reference};
pub use gather_rows::gather_rows;
pub use l2_normalize::l2_normalize;
pub use layer_norm::{layer_norm, layer_norm_merged};
pub use matmul::matmul;
pub use matmul_reduce::matmul_reduce;
pub use minmax::minmax;
pub use normalize::normalize;

pub use overlay_maps::overlay_maps;
pub use overlay_texture::{jet, overlay_texture};
pub use pamr::pamr;
pub use pamr_weights::pamr_weights;
pub use patch_embed::patch_embed;
pub use pool_embed::pool_embed;
pub use resize_u8::{Taps, resize_axis_u8, resize_u8};
pub use segment::segment;
pub use similarity::similarity;
pub use softmax::softmax;
pub use stitch::{Windows, stitch};
pub use token_embed::token_embed;
pub use unit_values::unit_values;
pub(crate) use upsample::neighbours;
pub use upsample::upsample;
