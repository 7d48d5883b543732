// What the kernels of conv3x3 share: parameters, and where a pixel's neighbours lie.
struct Params {
    rows: u32,           // B H W
    c4: u32,             // C / 4
    n4: u32,             // N / 4
    map_width: u32,      // W
    map_height: u32,     // H
    activation: u32,     // as in `activate`
    lanes_n: u32,        // 1, 2, 4 or 8
}

// Column of a pixel in its map, and its row in the upper half; sides stay below 2^16.
fn place(row: u32) -> u32 {
    let r = min(row, params.rows - 1u);
    return (r % params.map_width) | (((r / params.map_width) % params.map_height) << 16u);
}

// True if the neighbour at (dx - 1, dy - 1) of a pixel at this place is in the map. Below zero wraps to what is too large.
fn is_inside(at: u32, dx: u32, dy: u32) -> bool {
    return (at & 0xffffu) + dx - 1u < params.map_width && (at >> 16u) + dy - 1u < params.map_height;
}
