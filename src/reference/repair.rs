//! Marked patches replaced by the mean of their unmarked neighbours.

/// Replaces marked patches; one without an unmarked neighbour stays, the class row too.
///
/// * `x`: `[B (1 + n), width]`
/// * `marks`: `[B, n]`, 1 for a marked patch
/// * `grid`: patches side by side and below each other, n = their product
///
/// Returns `[B (1 + n), width]`.
pub fn repair(x: &[f32], marks: &[u32], grid: [usize; 2], width: usize) -> Vec<f32> {
    let n = grid[0] * grid[1];
    assert_eq!(x.len() / ((1 + n) * width), marks.len() / n, "images of x and of marks");
    let mut out = x.to_vec();
    for (image, marks) in marks.chunks_exact(n).enumerate() {
        for (i, _) in marks.iter().enumerate().filter(|(_, m)| **m != 0) {
            let near = |a: usize, b: usize| a.abs_diff(b) <= 1;
            let neighbours: Vec<usize> = (0..n)
                .filter(|&j| marks[j] == 0 && near(i % grid[0], j % grid[0]) && near(i / grid[0], j / grid[0]))
                .map(|j| (image * (1 + n) + 1 + j) * width)
                .collect();
            for c in 0..width {
                let sum: f64 = neighbours.iter().map(|&at| f64::from(x[at + c])).sum();
                if !neighbours.is_empty() {
                    out[(image * (1 + n) + 1 + i) * width + c] = (sum / neighbours.len() as f64) as f32;
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A class row, then patches 0, 1, 4, 9 ..: each has a value of its own.
    fn image(n: usize) -> Vec<f32> {
        std::iter::once(-5.0).chain((0..n).map(|i| (i * i) as f32)).collect()
    }

    fn marked(n: usize, which: &[usize]) -> Vec<u32> {
        (0..n).map(|i| u32::from(which.contains(&i))).collect()
    }

    #[test]
    fn the_mean_of_eight_five_or_three() {
        // 4 wide, 3 high: 5 is inside, 4 on the left edge, 11 the last corner.
        let x = image(12);
        for (patch, neighbours) in [(5, &[0, 1, 2, 4, 6, 8, 9, 10][..]), (4, &[0, 1, 5, 8, 9]), (11, &[6, 7, 10])] {
            let out = repair(&x, &marked(12, &[patch]), [4, 3], 1);
            let want = neighbours.iter().map(|i| i * i).sum::<usize>() as f32 / neighbours.len() as f32;
            assert_eq!(out[1 + patch], want, "patch {patch}");
            assert!((0..13).all(|i| i == 1 + patch || out[i] == x[i]));
        }
    }

    #[test]
    fn among_marked_ones_it_stays() {
        let x = image(9);
        let out = repair(&x, &marked(9, &[0, 1, 3, 4]), [3, 3], 1);
        assert_eq!(out[1], 0.0);
        assert_eq!(out[2], (4.0 + 25.0) / 2.0);
    }
}
