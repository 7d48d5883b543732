// What the kernels of patch_embed share: parameters, and where a patch's pixels lie.
struct Params {
    rows: u32,           // B (1 + N), or B N without the prefix
    tokens: u32,         // 1 + N, or N
    prefix: u32,
    grid_width: u32,
    patch_size: u32,     // p
    image_width: u32,    // W
    image_height: u32,   // H
    k4: u32,             // 3 p p / 4
    width4: u32,         // C / 4
}

// First pixel (channel 0) of the patch behind an output row; a class row borrows patch 0 and drops the product.
fn corner(row: u32) -> u32 {
    let r = min(row, params.rows - 1u);
    let token = r % params.tokens;
    let index = select(token, max(token, 1u) - 1u, params.prefix != 0u);
    let plane = params.image_width * params.image_height;
    let at = vec2<u32>(index % params.grid_width, index / params.grid_width) * params.patch_size;
    return (r / params.tokens) * 3u * plane + at.y * params.image_width + at.x;
}

// Offset of weight element k of a patch from its corner.
fn pixel(k: u32) -> u32 {
    let area = params.patch_size * params.patch_size;
    let inside = k % area;
    return ((k / area) * params.image_height + inside / params.patch_size) * params.image_width + inside % params.patch_size;
}
