//! Morphological closing of a class map: the largest class index of each 3 x 3 neighbourhood, then the smallest of those.
//!
//! Cracks and holes narrower than three pixels go to the neighbour with the higher index; what is wide keeps its outline.
//! Pixels beyond the border do not count. Source: the last step of ITACLIP (arXiv 2411.12044).

/// Closes `[H, W]` classes in place; `size` is (width, height).
///
/// # Panics
/// If there are not H x W classes.
pub fn closing(classes: &mut [u16], size: [u32; 2]) {
    let [width, height] = size.map(|s| s as usize);
    assert_eq!(classes.len(), width * height, "classes are not [{height}, {width}]");
    neighbourhood(classes, width, u16::max);
    neighbourhood(classes, width, u16::min);
}

/// `pick` over each 3 x 3 neighbourhood: along rows, then along columns.
fn neighbourhood(classes: &mut [u16], width: usize, pick: fn(u16, u16) -> u16) {
    let three = |before: Option<&u16>, here: u16, after: Option<&u16>| {
        let here = before.map_or(here, |&v| pick(v, here));
        after.map_or(here, |&v| pick(v, here))
    };
    let mut line = Vec::with_capacity(width);
    for row in classes.chunks_exact_mut(width.max(1)) {
        line.clear();
        line.extend_from_slice(row);
        for (x, out) in row.iter_mut().enumerate() {
            *out = three(x.checked_sub(1).map(|x| &line[x]), line[x], line.get(x + 1));
        }
    }
    let rows = classes.to_vec();
    for (at, out) in classes.iter_mut().enumerate() {
        *out = three(at.checked_sub(width).map(|at| &rows[at]), rows[at], rows.get(at + width));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cracks_close_and_edges_stay() {
        // A crack of two columns, a hole, and a block in a corner, which the border does not eat.
        let mut classes = [
            [4, 0, 0, 4, 4, 4],
            [4, 0, 0, 4, 0, 4],
            [4, 0, 0, 4, 4, 4], //
        ]
        .concat();
        closing(&mut classes, [6, 3]);
        assert_eq!(classes, [4; 18]);
        let mut wide = [[3, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]].concat();
        let before = wide.clone();
        closing(&mut wide, [4, 4]);
        assert_eq!(wide, before);
        closing(&mut [], [0, 0]);
        let mut line = [2, 1, 2];
        closing(&mut line, [1, 3]);
        assert_eq!(line, [2; 3]);
    }
}
