//! The products that are measured: those of a model's vision tower, one image.

use anyhow::Result;
use lancet::Weights;
use lancet::clip::names::Layout;
use lancet::clip::{ClipConfig, ConfigSource, VisionConfig};

/// One matrix product of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Model and layer.
    pub name: String,
    /// M, N, K.
    pub shape: [u32; 3],
}

/// A vision transformer's, by tokens, width, hidden channels and joint width. CLIP Surgery projects both attentions of a block
/// at once, twice the rows.
fn transformer(model: &str, tokens: u32, width: u32, mlp: u32, embed: u32) -> Vec<Product> {
    let layers = [
        ("qkv", [tokens, 3 * width, width]),
        ("projection", [tokens, width, width]),
        ("projection, both paths", [2 * tokens, width, width]),
        ("mlp up", [tokens, mlp, width]),
        ("mlp down", [tokens, width, mlp]),
        ("joint", [tokens, embed, width]),
    ];
    layers.into_iter().map(|(layer, shape)| Product { name: format!("{model} {layer}"), shape }).collect()
}

/// A ResNet's, by the side of its first maps, the stem's channels and the joint width.
fn resnet(model: &str, side: u32, width: u32, embed: u32) -> Vec<Product> {
    let mut all = Vec::new();
    for layer in 0..4 {
        let (pixels, planes) = ((side >> layer).max(1).pow(2), width << layer);
        all.push(Product { name: format!("{model} layer{} down", layer + 1), shape: [pixels, planes, 4 * planes] });
        all.push(Product { name: format!("{model} layer{} up", layer + 1), shape: [pixels, 4 * planes, planes] });
    }
    let (tokens, channels) = (1 + (side >> 3).max(1).pow(2), 32 * width);
    all.push(Product { name: format!("{model} pool qkv"), shape: [tokens, 3 * channels, channels] });
    all.push(Product { name: format!("{model} pool joint"), shape: [tokens, embed, channels] });
    all
}

/// Of the usual models at 224 pixels.
pub fn usual() -> Vec<Product> {
    let mut all = transformer("B/32", 50, 768, 3072, 512);
    all.extend(transformer("B/16", 197, 768, 3072, 512));
    all.extend(transformer("L/14", 257, 1024, 4096, 768));
    all.extend(resnet("RN50", 56, 64, 1024));
    all
}

/// Of a weights file, at the size of its training images. Widths that are no multiple of 4 no model has.
pub fn of_model(weights: &Weights, source: &ConfigSource) -> Result<Vec<Product>> {
    let config = ClipConfig::read(weights, Layout::of(weights)?, source)?;
    let model = weights.path().file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    Ok(match config.vision {
        VisionConfig::Transformer(tower) => transformer(&model, 1 + config.native_grid.pow(2), tower.width, tower.mlp, config.embed),
        VisionConfig::ResNet(tower) => resnet(&model, 8 * config.native_grid, tower.width, config.embed),
    })
}
