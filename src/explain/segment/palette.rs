//! Colours of classes.

/// The colour of an index in PASCAL VOC's palette: its bits, dealt out to red, green and blue from the highest bit down.
/// Neighbouring indices differ strongly, and 0 is black.
pub fn voc_colour(index: usize) -> [u8; 3] {
    let mut colour = [0u8; 3];
    let mut rest = index;
    for bit in (0..8).rev() {
        for (channel, value) in colour.iter_mut().enumerate() {
            *value |= ((rest >> channel & 1) as u8) << bit;
        }
        rest >>= 3;
    }
    colour
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_the_data_set() {
        let known =
            [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128], [0, 128, 128], [128, 128, 128], [64, 0, 0]];
        for (index, colour) in known.into_iter().enumerate() {
            assert_eq!(voc_colour(index), colour, "{index}");
        }
        // person, and the border of objects.
        assert_eq!((voc_colour(15), voc_colour(255)), ([192, 128, 128], [224, 224, 192]));
        let all: std::collections::HashSet<_> = (0..256).map(voc_colour).collect();
        assert_eq!(all.len(), 256);
    }
}
