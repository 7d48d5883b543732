//! Positions for another grid of patches than the model was trained on.
//!
//! A vision transformer learns one vector per cell of its training grid, `[1 + g0 * g0, C]`, row 0 for the class token. For
//! another input size the cells are resampled per channel to `[h, w]`; the class row is kept. The field has four rules,
//! and they give different results, so to reproduce a project's numbers take that project's rule.
//!
//! Always resample from the table of the checkpoint, never from a resampled one: results must not depend on which sizes
//! came before.

/// How positions are resampled from g0 to g cells, per axis.
///
/// All but [`BicubicAntialias`](PositionRule::BicubicAntialias) read cells around one source coordinate, where cell
/// indices beyond the border are clamped; `K_a` is the Keys kernel of constant a.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "toml", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum PositionRule {
    /// CLIP Surgery: linear between the two cells around `max((i + 0.5) g0/g - 0.5, 0)`, no antialias.
    ///
    /// The original takes square grids only; here any grid is resampled from `[g0, g0]` to `[h, w]`.
    Bilinear,
    /// SCLIP, NACLIP, ResCLIP, SC-CLIP, ITACLIP, CLIPtrase, ClearCLIP: four cells around
    /// `(i + 0.5) g0/(g + 0.1) - 0.5` with `K_-0.75`, no antialias.
    ///
    /// These projects guard a division by adding 0.1 to the size, and so shift the coordinates a little. They also
    /// resample nothing when the number of patches is the trained one, even if the grid has another shape.
    BicubicShifted,
    /// GEM and OpenCLIP: centre `(i + 0.5) g0/g`, all cells within `2 max(g0/g, 1)`, weights
    /// `K_-0.5((cell + 0.5 - centre) / max(g0/g, 1))` divided by their sum.
    BicubicAntialias,
    /// MaskCLIP and the Hugging Face classes: four cells around `(i + 0.5) g0/g - 0.5` with `K_-0.75`, no antialias.
    Bicubic,
}

/// Resamples a position table to another grid.
///
/// * `table`: `[1 + g0 * g0, C]`, from the checkpoint, with `width` = C and `native` = g0
/// * `grid`: patches per row and per column, `[w, h]`
///
/// Returns `[1 + h * w, C]`; a copy of the table if the grid is the native one.
pub fn resample_positions(table: &[f32], width: usize, native: usize, grid: [usize; 2], rule: PositionRule) -> Vec<f32> {
    let [columns, rows] = grid;
    assert_eq!(table.len(), (1 + native * native) * width, "table is not [1 + {native} * {native}, {width}]");
    assert!(columns > 0 && rows > 0, "a grid of {columns}x{rows} patches");
    let same_count = rule == PositionRule::BicubicShifted && columns * rows == native * native;
    if grid == [native, native] || same_count {
        return table.to_vec();
    }

    let (class, cells) = table.split_at(width);
    let across = taps(rule, native, columns);
    let down = taps(rule, native, rows);
    let mut out = class.to_vec();
    for vertical in &down {
        for horizontal in &across {
            for c in 0..width {
                let mut sum = 0.0;
                for &(y, weight_y) in vertical {
                    for &(x, weight_x) in horizontal {
                        sum += weight_y * weight_x * f64::from(cells[(y * native + x) * width + c]);
                    }
                }
                out.push(sum as f32);
            }
        }
    }
    out
}

/// The cells, with their weights, that each of `to` outputs reads from an axis of `from` cells.
fn taps(rule: PositionRule, from: usize, to: usize) -> Vec<Vec<(usize, f64)>> {
    let scale = match rule {
        PositionRule::BicubicShifted => from as f64 / (to as f64 + 0.1),
        _ => from as f64 / to as f64,
    };
    let output = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        match rule {
            PositionRule::Bilinear => {
                let source = (centre - 0.5).max(0.0);
                let along = source - source.floor();
                around(source, from, [(0, 1.0 - along), (1, along)])
            }
            PositionRule::BicubicShifted | PositionRule::Bicubic => {
                let source = centre - 0.5;
                let along = source - source.floor();
                around(source, from, [-1, 0, 1, 2].map(|step| (step, keys(along - step as f64, -0.75))))
            }
            PositionRule::BicubicAntialias => {
                let filter_scale = scale.max(1.0);
                let begin = (centre - 2.0 * filter_scale + 0.5).max(0.0) as usize;
                let end = ((centre + 2.0 * filter_scale + 0.5) as usize).min(from);
                let weight = |cell: usize| keys((cell as f64 + 0.5 - centre) / filter_scale, -0.5);
                let sum: f64 = (begin..end).map(weight).sum();
                (begin..end).map(|cell| (cell, weight(cell) / sum)).collect()
            }
        }
    };
    (0..to).map(output).collect()
}

/// Steps from the cell below `source` to cell indices, clamped to the border.
fn around<const TAPS: usize>(source: f64, cells: usize, steps: [(isize, f64); TAPS]) -> Vec<(usize, f64)> {
    let cell = |step: isize| (source.floor() as isize + step).clamp(0, cells as isize - 1) as usize;
    steps.map(|(step, weight)| (cell(step), weight)).to_vec()
}

/// The bicubic kernel of Keys (1981) with constant `a`.
fn keys(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [PositionRule; 4] =
        [PositionRule::Bilinear, PositionRule::BicubicShifted, PositionRule::BicubicAntialias, PositionRule::Bicubic];

    fn table(native: usize) -> Vec<f32> {
        (0..(1 + native * native) * 2).map(|i| (i * 37 % 19) as f32).collect()
    }

    #[test]
    fn the_native_grid_is_a_copy() {
        for rule in RULES {
            assert_eq!(resample_positions(&table(4), 2, 4, [4, 4], rule), table(4), "{rule:?}");
        }
    }

    #[test]
    fn weights_sum_to_one_and_the_class_row_stays() {
        for rule in RULES {
            for grid in [[7, 3], [2, 9], [1, 1]] {
                let ones = vec![1.0; 17 * 2];
                let out = resample_positions(&ones, 2, 4, grid, rule);
                assert_eq!(out.len(), (1 + grid[0] * grid[1]) * 2);
                assert!(out.iter().all(|v| (v - 1.0).abs() < 1e-6), "{rule:?} {grid:?}: {out:?}");
                assert_eq!(resample_positions(&table(4), 2, 4, grid, rule)[..2], table(4)[..2]);
            }
        }
    }

    #[test]
    fn an_axis_of_native_length_is_left_alone() {
        // Columns differ along x only, so resampling y from 2 to 5 cells repeats them.
        let out = resample_positions(&[9.0, 1.0, 2.0, 1.0, 2.0], 1, 2, [2, 5], PositionRule::Bilinear);
        assert_eq!(out, [9.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    }

    #[test]
    fn shifted_keeps_the_table_when_the_count_matches() {
        assert_eq!(resample_positions(&table(4), 2, 4, [8, 2], PositionRule::BicubicShifted), table(4));
        assert_ne!(resample_positions(&table(4), 2, 4, [8, 2], PositionRule::Bicubic), table(4));
    }
}
