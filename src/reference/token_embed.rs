//! The text transformer's first layer: `out[t] = table[rows[t]] + positions[position[t]]`.
//!
//! The table is compact: it holds one row for each of the U tokens that occur, not the whole vocabulary. Sequences are
//! packed end to end, so every token says itself which position of its own sequence it is at. Source: CLIP's text encoder.

/// Looks up packed tokens and adds their positions.
///
/// * `rows`: `[T]`, the row of `table` of each packed token
/// * `position`: `[T]`, its place in its sequence, counted from 0
/// * `table`: `[U, C]`, with `width` = C
/// * `positions`: `[context, C]`
///
/// Returns `[T, C]`.
pub fn token_embed(rows: &[u32], position: &[u32], table: &[f32], positions: &[f32], width: usize) -> Vec<f32> {
    assert_eq!(rows.len(), position.len(), "{} rows but {} positions", rows.len(), position.len());
    assert_eq!(table.len() % width, 0, "table of {} values is not [U, {width}]", table.len());
    assert_eq!(positions.len() % width, 0, "positions of {} values are not [context, {width}]", positions.len());
    let mut out = Vec::with_capacity(rows.len() * width);
    for (&row, &place) in rows.iter().zip(position) {
        let token = &table[row as usize * width..][..width];
        let offset = &positions[place as usize * width..][..width];
        out.extend(token.iter().zip(offset).map(|(a, b)| a + b));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_plus_position() {
        let table = [1.0, 2.0, 3.0, 4.0];
        let positions = [10.0, 20.0, 30.0, 40.0];
        assert_eq!(token_embed(&[1, 0, 1], &[0, 1, 0], &table, &positions, 2), [13.0, 24.0, 31.0, 42.0, 13.0, 24.0]);
    }
}
