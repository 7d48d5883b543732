// Neighbour k of eight around a pixel, row by row, at a distance; beyond the border the nearest pixel stands in.
fn neighbour(at: vec2<u32>, k: u32, dilation: u32, size: vec2<u32>) -> u32 {
    // 4 would be the pixel itself.
    let cell = select(k, k + 1u, k >= 4u);
    let step = (vec2<i32>(i32(cell % 3u), i32(cell / 3u)) - 1) * i32(dilation);
    let p = vec2<u32>(clamp(vec2<i32>(at) + step, vec2<i32>(0), vec2<i32>(size) - 1));
    return p.y * size.x + p.x;
}
