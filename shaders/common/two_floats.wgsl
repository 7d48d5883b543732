// The two f32 of a 64-bit word.
fn two_floats(word: u64) -> vec2<f32> {
    return vec2<f32>(bitcast<f32>(u32(word & 0xfffffffflu)), bitcast<f32>(u32(word >> 32u)));
}

fn word_of(v: vec2<f32>) -> u64 {
    return u64(bitcast<u32>(v.x)) | (u64(bitcast<u32>(v.y)) << 32u);
}
