//! Tokens of the attention pool of CLIP's ResNets: the mean of all pixels in front of the pixels, then positions.
//!
//! ```text
//! out[b, 0]     = mean over n of x[b, n] + positions[0]
//! out[b, 1 + n] = x[b, n] + positions[1 + n]
//! ```
//!
//! The mean comes before the positions, so they are no part of it.
//! Source: "Learning Transferable Visual Models From Natural Language Supervision" (Radford et al., 2021).

/// Puts the mean token in front and adds positions.
///
/// * `x`: `[B, N, C]`
/// * `positions`: `[1 + N, C]`, with `width` = C
///
/// Returns `[B, 1 + N, C]`.
pub fn pool_embed(x: &[f32], positions: &[f32], width: usize) -> Vec<f32> {
    let n = positions.len() / width - 1;
    assert_eq!(positions.len(), (1 + n) * width, "positions are not [1 + {n}, {width}]");
    assert_eq!(x.len() % (n * width), 0, "x of {} values is not [B, {n}, {width}]", x.len());
    let mut out = Vec::new();
    for image in x.chunks_exact(n * width) {
        for (c, &position) in positions[..width].iter().enumerate() {
            let sum: f64 = image.iter().skip(c).step_by(width).map(|&v| f64::from(v)).sum();
            out.push((sum / n as f64 + f64::from(position)) as f32);
        }
        out.extend(image.iter().zip(&positions[width..]).map(|(v, p)| v + p));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_in_front_of_each_image() {
        // Two images of two pixels, one channel.
        assert_eq!(pool_embed(&[1.0, 3.0, 10.0, 20.0], &[0.5, 100.0, 200.0], 1), [2.5, 101.0, 203.0, 15.5, 110.0, 220.0]);
    }
}
