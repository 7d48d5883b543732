//! OpenCV's bilinear resize of 8-bit samples, in its fixed-point arithmetic.
//!
//! ```text
//! source = (i + 0.5) * from / to - 0.5, cut to the first and the last sample
//! weights of the two samples around it: 11 fractional bits;  rows first, kept in full;  then
//! out    = (((w0 * (r0 >> 4)) >> 16) + ((w1 * (r1 >> 4)) >> 16) + 2) >> 2
//! ```
//!
//! The published segmentation harnesses resize with it. It runs on the CPU: four samples a pixel of a few hundred rows,
//! whatever the size of the photo.

const ONE: f32 = 2048.0;

struct Tap {
    at: [usize; 2],
    weight: [i32; 2],
}

fn taps(from: u32, to: u32) -> Vec<Tap> {
    // Its own order of operations: scale in f64, the coordinate in f32.
    let scale = 1.0 / (f64::from(to) / f64::from(from));
    let last = from as usize - 1;
    let tap = |i: u32| {
        let source = ((f64::from(i) + 0.5) * scale - 0.5) as f32;
        let whole = source.floor();
        let (low, along) = if whole < 0.0 {
            (0, 0.0)
        } else if whole as usize >= last {
            (last, 0.0)
        } else {
            (whole as usize, source - whole)
        };
        let fixed = |v: f32| (v * ONE).round_ties_even() as i32;
        Tap { at: [low, (low + 1).min(last)], weight: [fixed(1.0 - along), fixed(along)] }
    };
    (0..to).map(tap).collect()
}

/// Pixels `[h, w, 4]` from one size (width, height) to another.
pub(super) fn resize_linear(rgba: &[u8], from: [u32; 2], to: [u32; 2]) -> Vec<u8> {
    let (across, down) = (taps(from[0], to[0]), taps(from[1], to[1]));
    let stride = from[0] as usize * 4;
    let row = |y: usize| -> Vec<i32> {
        let samples = &rgba[y * stride..][..stride];
        let one = |tap: &Tap, c: usize| {
            let [a, b] = tap.at.map(|x| i32::from(samples[4 * x + c]));
            a * tap.weight[0] + b * tap.weight[1]
        };
        across.iter().flat_map(|tap| [0, 1, 2, 3].map(|c| one(tap, c))).collect()
    };
    let mut out = Vec::with_capacity(to[0] as usize * to[1] as usize * 4);
    // The two rows in use; the next output often shares them.
    let mut rows: [(usize, Vec<i32>); 2] = [(usize::MAX, Vec::new()), (usize::MAX, Vec::new())];
    for tap in &down {
        if rows[0].0 != tap.at[0] && rows[1].0 == tap.at[0] {
            rows.swap(0, 1);
        }
        for (kept, &wanted) in rows.iter_mut().zip(&tap.at) {
            if kept.0 != wanted {
                *kept = (wanted, row(wanted));
            }
        }
        let [w0, w1] = tap.weight;
        let blend = |(a, b): (&i32, &i32)| ((((w0 * (a >> 4)) >> 16) + ((w1 * (b >> 4)) >> 16) + 2) >> 2).clamp(0, 255) as u8;
        out.extend(rows[0].1.iter().zip(&rows[1].1).map(blend));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(values: &[u8]) -> Vec<u8> {
        values.iter().flat_map(|&v| [v; 4]).collect()
    }

    #[test]
    fn same_size_and_constant_pictures_stay() {
        let pixels: Vec<u8> = (0..5 * 3 * 4).map(|i| (i * 37 % 256) as u8).collect();
        assert_eq!(resize_linear(&pixels, [5, 3], [5, 3]), pixels);
        assert_eq!(resize_linear(&grey(&[255; 63]), [9, 7], [31, 2]), grey(&[255; 62]));
    }

    #[test]
    fn as_opencv_does() {
        // cv2.resize, INTER_LINEAR, of the row 0 50 200 255 to 7 and to 3 samples.
        assert_eq!(resize_linear(&grey(&[0, 50, 200, 255]), [4, 1], [7, 1]), grey(&[0, 18, 46, 125, 204, 235, 255]));
        assert_eq!(resize_linear(&grey(&[0, 50, 200, 255]), [4, 1], [3, 1]), grey(&[8, 125, 246]));
        // Of a 3 x 3 picture to 4 x 2.
        let square = [10, 200, 30, 90, 0, 255, 60, 70, 80];
        assert_eq!(resize_linear(&grey(&square), [3, 3], [4, 2]), grey(&[30, 105, 126, 86, 68, 58, 79, 124]));
    }
}
