//! A heat map laid over its picture: `out = (4 image + 6 jet(level)) / 10`, `level = floor(255 map)`, all in integers.
//!
//! The colours are those of OpenCV's `COLORMAP_JET`, in RGB order: dark blue, blue, cyan, yellow, red, dark red. Each
//! channel is a trapezoid of slope 4. Source: CLIP Surgery's demo, which truncates `0.4 image + 0.6 colour` computed in
//! floating point; where that sum is a whole number, rounding may leave the demo one level lower (208 of 65,536 pairs).

/// The colour of a level as `[r, g, b]`: 0 is `[0, 0, 128]`, 255 is `[128, 0, 0]`.
pub fn jet(level: u8) -> [u8; 3] {
    let rise = 4 * i32::from(level);
    let red = (rise - 382).min(1148 - rise);
    let green = (rise - 128).min(892 - rise);
    // OpenCV stores the end of blue's slope as 1.49999 levels, which rounds to 1 where the line gives 2.
    let blue = if level == 159 { 1 } else { (rise + 128).min(638 - rise) };
    [red, green, blue].map(|channel| channel.clamp(0, 255) as u8)
}

/// Colours a heat map and blends it over its picture, 4 parts picture and 6 parts colour.
///
/// * `map`: `[H, W]`, values outside 0..1 are clamped
/// * `rgba`: `[H, W, 4]`
///
/// Returns `[H, W, 4]` with alpha 255.
pub fn overlay_texture(map: &[f32], rgba: &[u8]) -> Vec<u8> {
    assert_eq!(rgba.len(), map.len() * 4, "a map of {} values over {} bytes", map.len(), rgba.len());
    let mut out = Vec::with_capacity(rgba.len());
    for (value, pixel) in map.iter().zip(rgba.chunks_exact(4)) {
        let level = (255.0 * value.clamp(0.0, 1.0)) as u8;
        for (&image, colour) in pixel.iter().zip(jet(level)) {
            out.push(((4 * u32::from(image) + 6 * u32::from(colour)) / 10) as u8);
        }
        out.push(255);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_of_the_colour_map() {
        assert_eq!(jet(0), [0, 0, 128]);
        assert_eq!(jet(32), [0, 0, 255]);
        assert_eq!(jet(96), [2, 255, 254]);
        assert_eq!(jet(159), [254, 255, 1]);
        assert_eq!(jet(255), [128, 0, 0]);
    }

    #[test]
    fn all_entries_equal_opencv() {
        // 64-bit FNV-1a over the 768 bytes of COLORMAP_JET in RGB order, taken from OpenCV 4.11.
        let hash =
            (0..=255).flat_map(jet).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        assert_eq!(hash, 0xb9ca_a286_bcc1_eccc);
    }

    #[test]
    fn blend() {
        let out = overlay_texture(&[0.0, 1.0, 7.0], &[100, 50, 0, 9, 255, 255, 255, 9, 0, 0, 0, 0]);
        assert_eq!(out, [40, 20, 76, 255, 178, 102, 102, 255, 76, 0, 0, 255]);
    }
}
