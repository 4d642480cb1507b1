//! The few colours that stand for the many of a picture.
//!
//! A picture with few colours keeps them. Else groups of colours are parted in
//! two until there are enough, always the one that is widest (as in Wan,
//! Prusinkiewicz, Wong: "Variance-based color image quantization for frame
//! buffer display", 1990). Then what stands for a group is moved to the mean of
//! the colours nearest to it (Lloyd: "Least squares quantization in PCM", 1982).

/// The most that indices of eight bits can tell apart.
const MOST: usize = 256;
/// Of about so many different colours those that stand for them are found; of
/// more, neighbours are taken together.
const LOOKED_AT: usize = 12_000;
/// So often they are moved. What more would gain is not seen.
const MOVES: u32 = 3;

/// A picture by the numbers of its colours.
pub(super) struct Indexed {
    /// Red, green, blue of each colour.
    pub(super) palette: Vec<[u8; 3]>,
    /// For each pixel its colour.
    pub(super) indices: Vec<u8>,
    /// The colour that is none.
    pub(super) transparent: Option<u8>,
}

/// A colour, and how many pixels have it.
struct Colour {
    rgb: [u8; 3],
    pixels: u32,
}

/// Finds the colours for pixels, of which those that are transparent have none.
pub(super) fn reduce(pixels: impl ExactSizeIterator<Item = Option<[u8; 3]>>) -> Indexed {
    let count = pixels.len();
    let mut opaque: Vec<([u8; 3], u32)> = (0..)
        .zip(pixels)
        .filter_map(|(place, rgb)| Some((rgb?, place)))
        .collect();
    let transparent = opaque.len() < count;
    // The same colours lie together, with the places where they are.
    opaque.sort_unstable();
    let same = || opaque.chunk_by(|(one, _), (other, _)| one == other);
    let colours = same().map(|run| Colour {
        rgb: run[0].0,
        pixels: u32::try_from(run.len()).unwrap_or(u32::MAX),
    });
    let palette = Palette::of(colours.collect(), MOST - usize::from(transparent));

    let mut colours = palette.colours.clone();
    // Where nothing else is written there is nothing.
    let none = u8::try_from(colours.len()).ok().filter(|_| transparent);
    colours.extend(none.map(|_| [u8::MAX; 3]));
    let mut indices = vec![none.unwrap_or_default(); count];
    for run in same() {
        let index = palette.nearest(run[0].0);
        for &(_, place) in run {
            indices[place as usize] = index;
        }
    }
    Indexed {
        palette: colours,
        indices,
        transparent: none,
    }
}

/// The colours that stand for others.
struct Palette {
    colours: Vec<[u8; 3]>,
    /// Their red, green and blue. Where there are no more, the first again.
    channels: [[i16; MOST]; 3],
}

impl Palette {
    /// At most `most` colours for `colours`, which are sorted.
    fn of(mut colours: Vec<Colour>, most: usize) -> Self {
        if colours.len() <= most {
            return Self::new(colours.iter().map(|colour| colour.rgb).collect());
        }
        let together = colours.len().div_ceil(LOOKED_AT);
        if together > 1 {
            // The median: a colour that most of the pixels have is not lost.
            let middle = |near: &[Colour]| {
                let pixels = near.iter().map(|colour| colour.pixels).sum();
                let mut up_to = 0;
                let median = near.iter().find(|colour| {
                    up_to += colour.pixels;
                    up_to > pixels / 2
                });
                median.map(|&Colour { rgb, .. }| Colour { rgb, pixels })
            };
            colours = colours.chunks(together).filter_map(middle).collect();
        }
        let mut palette = Self::parted(&mut colours, most);
        for _ in 0..MOVES {
            palette = palette.moved(&colours);
        }
        palette
    }

    fn new(colours: Vec<[u8; 3]>) -> Self {
        let first = colours.first().copied().unwrap_or_default();
        let mut channels = first.map(|value| [value.into(); MOST]);
        for (index, rgb) in colours.iter().enumerate() {
            for (channel, &value) in channels.iter_mut().zip(rgb) {
                channel[index] = value.into();
            }
        }
        Self { colours, channels }
    }

    /// The means of `most` groups.
    fn parted(colours: &mut [Colour], most: usize) -> Self {
        let mut groups = vec![Group::of(colours)];
        while groups.len() < most {
            let widest = (0..groups.len()).max_by_key(|&group| groups[group].widest().1);
            let Some(widest) = widest.map(|group| groups.swap_remove(group)) else {
                break;
            };
            groups.extend(widest.part());
        }
        Self::new(
            groups
                .iter()
                .filter_map(|group| group.moments.mean())
                .collect(),
        )
    }

    /// Each colour moved to the mean of those nearest to it.
    fn moved(&self, colours: &[Colour]) -> Self {
        let mut moments = [Moments::default(); MOST];
        for colour in colours {
            moments[usize::from(self.nearest(colour.rgb))].add(colour);
        }
        let moved = |(&old, moments): (&[u8; 3], &Moments)| moments.mean().unwrap_or(old);
        Self::new(self.colours.iter().zip(&moments).map(moved).collect())
    }

    /// The index of the colour that is nearest.
    fn nearest(&self, rgb: [u8; 3]) -> u8 {
        let [red, green, blue] = rgb.map(i16::from);
        let [reds, greens, blues] = &self.channels;
        let square = |one: i16, other: i16| i32::from(one - other) * i32::from(one - other);
        let rivals = reds.iter().zip(greens).zip(blues).zip(0..);
        let nearest = rivals.map(|(((&r, &g), &b), index)| {
            let distance = square(r, red) + square(g, green) + square(b, blue);
            // With the index below it, one comparison finds both.
            distance << 8 | index
        });
        nearest.min().unwrap_or_default().to_le_bytes()[0]
    }
}

/// Colours that are near each other.
struct Group<'a> {
    colours: &'a mut [Colour],
    moments: Moments,
}

impl<'a> Group<'a> {
    fn of(colours: &'a mut [Colour]) -> Self {
        let mut moments = Moments::default();
        for colour in &*colours {
            moments.add(colour);
        }
        Self { colours, moments }
    }

    /// The channel in which the colours lie furthest apart, and how far.
    fn widest(&self) -> (usize, u64) {
        let spreads = [0, 1, 2].map(|channel| (channel, self.moments.spread(channel)));
        spreads
            .into_iter()
            .max_by_key(|&(_, spread)| spread)
            .unwrap_or_default()
    }

    /// Parts it at its mean.
    fn part(self) -> [Self; 2] {
        let (channel, _) = self.widest();
        let mean = self.moments.sums[channel] / self.moments.pixels.max(1);
        let mut below = 0;
        for index in 0..self.colours.len() {
            if u64::from(self.colours[index].rgb[channel]) <= mean {
                self.colours.swap(index, below);
                below += 1;
            }
        }
        let (below, above) = self.colours.split_at_mut(below);
        [Self::of(below), Self::of(above)]
    }
}

/// What is known of some colours, weighted by their pixels.
#[derive(Clone, Copy, Default)]
struct Moments {
    pixels: u64,
    sums: [u64; 3],
    squares: [u64; 3],
}

impl Moments {
    fn add(&mut self, colour: &Colour) {
        let pixels = u64::from(colour.pixels);
        self.pixels += pixels;
        for (channel, value) in colour.rgb.map(u64::from).into_iter().enumerate() {
            self.sums[channel] += value * pixels;
            self.squares[channel] += value * value * pixels;
        }
    }

    /// The sum of the squares of the distances from the mean.
    fn spread(&self, channel: usize) -> u64 {
        let sum = self.sums[channel];
        self.squares[channel] - (sum * sum).div_ceil(self.pixels.max(1))
    }

    /// `None` of no colours.
    fn mean(&self) -> Option<[u8; 3]> {
        let half = self.pixels / 2;
        let mean = |sum: u64| u8::try_from((sum + half) / self.pixels).unwrap_or(u8::MAX);
        (self.pixels > 0).then(|| self.sums.map(mean))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many colours, all over the cube.
    fn colours(count: u32) -> impl ExactSizeIterator<Item = [u8; 3]> + Clone {
        // Marsaglia's xorshift.
        let mut state = 1_u32;
        (0..usize::try_from(count).unwrap()).map(move |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let [a, b, c, _] = state.to_be_bytes();
            [a, b, c]
        })
    }

    fn squared_distance(one: [u8; 3], other: [u8; 3]) -> u32 {
        let squares = one
            .iter()
            .zip(other)
            .map(|(&one, other)| u32::from(one.abs_diff(other)).pow(2));
        squares.sum()
    }

    #[test]
    fn few_colours_are_kept_beside_transparency() {
        for (pixels, transparent) in [(colours(256), 0), (colours(255), 9)] {
            let all = pixels
                .clone()
                .map(Some)
                .chain([None; 9].into_iter().take(transparent));
            let all: Vec<_> = all.collect();
            let reduced = reduce(all.iter().copied());
            let shown = reduced.indices.iter().map(|&index| {
                (Some(index) != reduced.transparent).then(|| reduced.palette[usize::from(index)])
            });
            assert!(shown.eq(all));
        }
    }

    #[test]
    fn what_is_transparent_takes_one_colour_of_256() {
        let pixels = colours(5000).map(|rgb| (rgb[0] > 30).then_some(rgb));
        let reduced = reduce(pixels.clone());
        assert_eq!(reduced.palette.len(), 256);
        assert_eq!(reduced.transparent, Some(255));
        assert!(
            pixels
                .zip(reduced.indices)
                .all(|(rgb, index)| rgb.is_none() == (index == 255))
        );

        let nothing = reduce([None; 4].into_iter());
        assert_eq!(nothing.palette.len(), 1);
        assert_eq!(
            (nothing.indices, nothing.transparent),
            (vec![0; 4], Some(0))
        );
    }

    #[test]
    fn each_pixel_gets_the_nearest_of_colours_that_are_spread_well() {
        for count in [2_000, 20_000] {
            let reduced = reduce(colours(count).map(Some));
            assert_eq!((reduced.palette.len(), reduced.transparent), (256, None));
            let mut squares = 0;
            for (rgb, &index) in colours(count).zip(&reduced.indices) {
                let distance = |&other: &[u8; 3]| squared_distance(rgb, other);
                let least = reduced.palette.iter().map(distance).min().unwrap();
                assert_eq!(distance(&reduced.palette[usize::from(index)]), least);
                squares += least;
            }
            // 256 balls that filled the cube would have a mean of 0.6 r² = 365.
            assert!(squares / count < 440, "{count}: {}", squares / count);
        }
    }

    #[test]
    fn a_background_keeps_its_colour_among_many_others() {
        let paper = [250, 251, 252];
        let pixels = colours(20_000)
            .chain(std::iter::repeat_n(paper, 20_000))
            .map(Some)
            .collect::<Vec<_>>();
        let reduced = reduce(pixels.into_iter());
        let shown = reduced.palette[usize::from(reduced.indices[20_000])];
        assert!(squared_distance(shown, paper) <= 3, "{shown:?}");
    }
}
