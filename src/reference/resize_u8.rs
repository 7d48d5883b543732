//! Antialiased bicubic resampling of 8-bit samples, bit for bit as Pillow does it.
//!
//! ```text
//! scale  = input / output          f = max(scale, 1)          support = 2 f
//! centre = (i + 0.5) scale         taps from int(centre - support + 0.5) to int(centre + support + 0.5), cut at the borders
//! weight = K((tap + 0.5 - centre) / f), divided by the sum of the weights, rounded to 22 fractional bits
//! out    = clip((2^21 + sum of weight * sample) >> 22, 0, 255)
//! K(x)   = (a+2)|x|^3 - (a+3)|x|^2 + 1 up to 1;  a|x|^3 - 5a|x|^2 + 8a|x| - 4a up to 2;  a = -0.5   (Keys, 1981)
//! ```
//!
//! Source: Pillow's `Resample.c`, the 8-bit path. CLIP's preprocessing runs on it. The horizontal pass comes first and is
//! rounded to 8 bits before the vertical one; a pass that changes no size is left out. (Pillow 13 puts the vertical pass
//! first where that is less work, which moves some samples by a level; the versions before it, with which CLIP's published
//! numbers were made, do not.) All four channels are treated alike: Pillow multiplies RGBA by its alpha before and divides
//! after, which is the caller's business.

/// Fractional bits of a weight: 32, less 8 for the sample and 2 for the overshoot of the kernel.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// The taps of one axis: output `i` is the weighted sum of the `size` samples from `first[i]` on.
///
/// Rows with fewer taps are padded with weight 0; a padded tap may lie past the last sample, so clamp its index or skip it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taps {
    /// Taps per output.
    pub size: usize,
    /// First source sample of each output. `[out]`
    pub first: Vec<u32>,
    /// Weights in units of 2^-22. `[out, size]`
    pub weights: Vec<i32>,
}

impl Taps {
    /// Pillow's bicubic taps from `input` samples to `output` samples.
    pub fn bicubic(input: usize, output: usize) -> Taps {
        assert!(input > 0 && output > 0, "cannot resample {input} samples to {output}");
        let scale = input as f64 / output as f64;
        let filter_scale = scale.max(1.0);
        let support = 2.0 * filter_scale;

        let mut first = Vec::with_capacity(output);
        let mut rows = Vec::with_capacity(output);
        for i in 0..output {
            let centre = (i as f64 + 0.5) * scale;
            let begin = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(input);
            // The order of these operations is Pillow's: it decides the last bit.
            let row: Vec<f64> = (0..end - begin).map(|tap| keys(((tap + begin) as f64 - centre + 0.5) * (1.0 / filter_scale))).collect();
            let sum: f64 = row.iter().sum();
            first.push(begin as u32);
            rows.push(row.iter().map(|weight| fixed(weight / sum)).collect::<Vec<i32>>());
        }

        let size = rows.iter().map(Vec::len).max().unwrap_or(0);
        rows.iter_mut().for_each(|row| row.resize(size, 0));
        Taps { size, first, weights: rows.concat() }
    }
}

/// Resamples the middle axis of `src`, whose pixels are 4 bytes each.
///
/// `src` is `[outer, input, inner]` pixels and the result `[outer, taps.first.len(), inner]` pixels. A horizontal pass has
/// `outer` = rows and `inner` = 1, a vertical pass `outer` = 1 (or images) and `inner` = columns.
pub fn resize_axis_u8(src: &[u8], outer: usize, input: usize, inner: usize, taps: &Taps) -> Vec<u8> {
    let output = taps.first.len();
    let stride = inner * 4;
    assert_eq!(src.len(), outer * input * stride, "src is not [{outer}, {input}, {inner}] pixels");
    assert_eq!(taps.weights.len(), output * taps.size, "weights are not [{output}, {}]", taps.size);

    let mut out = Vec::with_capacity(outer * output * stride);
    for block in 0..outer {
        for i in 0..output {
            let first = taps.first[i] as usize;
            let weights = &taps.weights[i * taps.size..(i + 1) * taps.size];
            for sample in 0..stride {
                let mut sum = 1i32 << (PRECISION_BITS - 1);
                for (tap, &weight) in weights.iter().enumerate() {
                    let source = (first + tap).min(input - 1); // padding has weight 0
                    sum += weight * i32::from(src[(block * input + source) * stride + sample]);
                }
                out.push((sum >> PRECISION_BITS).clamp(0, 255) as u8);
            }
        }
    }
    out
}

/// Resizes a picture of 4-byte pixels, `[h, w, 4]`, from one `[w, h]` to another.
pub fn resize_u8(rgba: &[u8], from: [usize; 2], to: [usize; 2]) -> Vec<u8> {
    let ([from_width, from_height], [to_width, to_height]) = (from, to);
    let mut pixels = rgba.to_vec();
    if from_width != to_width {
        pixels = resize_axis_u8(&pixels, from_height, from_width, 1, &Taps::bicubic(from_width, to_width));
    }
    if from_height != to_height {
        pixels = resize_axis_u8(&pixels, 1, from_height, to_width, &Taps::bicubic(from_height, to_height));
    }
    pixels
}

/// The Keys kernel with a = -0.5, in Pillow's order of operations.
fn keys(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Rounds half away from zero to 22 fractional bits.
fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION_BITS);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_size_is_a_copy() {
        let pixels: Vec<u8> = (0..5 * 3 * 4).map(|i| (i * 37 % 256) as u8).collect();
        assert_eq!(resize_u8(&pixels, [5, 3], [5, 3]), pixels);
    }

    #[test]
    fn a_constant_picture_stays_constant() {
        let pixels = [7u8, 130, 255, 1].repeat(9 * 11);
        assert_eq!(resize_u8(&pixels, [9, 11], [4, 23]), [7u8, 130, 255, 1].repeat(4 * 23));
    }

    #[test]
    fn taps_of_a_doubling() {
        // Output 3 of 8 lies at 1.75, the sample centres at 0.5, 1.5, 2.5, 3.5: K(1.25), K(0.25), K(0.75), K(1.75).
        let taps = Taps::bicubic(4, 8);
        assert_eq!((taps.size, taps.first[3]), (4, 0));
        assert_eq!(taps.weights[12..16], [-9, 111, 29, -3].map(|w| w << (PRECISION_BITS - 7)));
    }

    #[test]
    fn overshoot_is_clipped() {
        let row: Vec<u8> = [0u8, 0, 0, 255, 255, 255].iter().flat_map(|&v| [v; 4]).collect();
        let out = resize_u8(&row, [6, 1], [12, 1]);
        assert_eq!((out[0], out[4 * 11]), (0, 255));
        assert!(out.windows(8).all(|pair| pair[0] <= pair[4]), "not monotonic: {out:?}");
    }
}
