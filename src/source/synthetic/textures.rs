//! The few noise textures that every surface, normal or strange, is made of.

use super::noise::Texture;

/// Textures shared by the whole world.
#[derive(Debug)]
pub struct Textures {
    /// Fine grain: asphalt, plaster, bark.
    pub grain: Texture,
    /// Large soft spots: wear, dirt, clouds.
    pub blotch: Texture,
    /// Clumps with clear edges: leaves, grass.
    pub leaves: Texture,
}

impl Textures {
    /// The textures; every drive has the same, as every real road has the same asphalt.
    pub fn new() -> Textures {
        let seed = 20;
        Textures {
            grain: Texture::new(seed ^ 0x67, 4, 7, 0.9),
            blotch: Texture::new(seed ^ 0x62, 2, 6, 0.6),
            leaves: Texture::new(seed ^ 0x6c, 5, 7, 0.8),
        }
    }
}
