// The two f32 of a 64-bit word.
fn two_floats(word: u64) -> vec2<f32> {
    return vec2<f32>(bitcast<f32>(u32(word & 0xfffffffflu)), bitcast<f32>(u32(word >> 32u)));
}
