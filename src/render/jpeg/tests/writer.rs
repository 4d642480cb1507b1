//! Writes files of given coefficients in every way that there is. All codes
//! have eight bits, except of symbols that get longer ones to try those.

/// Coefficients and how they are arranged.
pub(super) struct Coefficients {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) components: Vec<Component>,
}

/// Blocks in zigzag order, of whole MCUs.
pub(super) struct Component {
    pub(super) factors: (u8, u8),
    pub(super) columns: usize,
    pub(super) blocks: Vec<[i16; 64]>,
}

impl Coefficients {
    /// Coefficients that get smaller the higher they are, as those of
    /// photographs; from a seed.
    pub(super) fn random(width: u16, height: u16, factors: &[(u8, u8)], seed: u64) -> Self {
        let mut random = super::random(seed);
        let most = |f: fn(&(u8, u8)) -> u8| factors.iter().map(f).max().unwrap_or(1);
        let mcus = |length: u16, most: u8| usize::from(length).div_ceil(8 * usize::from(most));
        let (across, down) = (mcus(width, most(|f| f.0)), mcus(height, most(|f| f.1)));
        let components = factors.iter().map(|&(h, v)| {
            let columns = across * usize::from(h);
            let blocks = (0..columns * down * usize::from(v)).map(|_| {
                let (reach, dense) = (random(64), random(4) == 0);
                std::array::from_fn(|k| {
                    let most = 60 / (k as u64 + 1) + 2;
                    match random(2 * most + 1) as i16 - most as i16 {
                        -1..=1 if dense => most as i16,
                        other if dense => other,
                        _ if k as u64 > reach || random(3) == 0 => 0,
                        other => other,
                    }
                })
            });
            let blocks = blocks.collect();
            Component {
                factors: (h, v),
                columns,
                blocks,
            }
        });
        let components = components.collect();
        Self {
            width,
            height,
            components,
        }
    }

    fn header(&self, start_of_frame: u8) -> File {
        let mut file = File(vec![0xff, 0xd8]);
        let mut quantization = vec![0];
        quantization.extend((0..64).map(|k| 3 + k / 8));
        file.segment(0xdb, &quantization);
        let [h1, h0] = self.height.to_be_bytes();
        let [w1, w0] = self.width.to_be_bytes();
        let mut frame = vec![8, h1, h0, w1, w0, self.components.len() as u8];
        for (id, component) in (0..).zip(&self.components) {
            frame.extend([id, component.factors.0 << 4 | component.factors.1, 0]);
        }
        file.segment(start_of_frame, &frame);
        // Symbols 0 to 239 in eight bits, then 240 to 255 in sixteen.
        for class in [0, 0x10] {
            let mut table = vec![class, 0, 0, 0, 0, 0, 0, 0, 240, 0, 0, 0, 0, 0, 0, 0, 16];
            table.extend((0..=255).filter(|&symbol| class > 0 || symbol < 12));
            if class == 0 {
                (table[8], table[16]) = (12, 0);
            }
            file.segment(0xc4, &table);
        }
        file
    }

    /// A file of one scan, or of one for each component.
    pub(super) fn sequential(&self, interleaved: bool, restart_interval: u16) -> Vec<u8> {
        let mut file = self.header(0xc1);
        file.segment(0xdd, &restart_interval.to_be_bytes());
        let all: Vec<_> = (0..self.components.len()).collect();
        let scans = all.chunks(if interleaved { all.len() } else { 1 });
        for scan in scans {
            self.scan(
                &mut file,
                scan,
                [0, 63, 0],
                restart_interval,
                &mut |bits, block, dc| {
                    bits.number(0, i32::from(block[0]) - i32::from(*dc));
                    *dc = block[0];
                    ac_first(bits, block, 1, 63, 0);
                    bits.end_run();
                },
            );
        }
        file.finish()
    }

    /// A file that brings all in several scans.
    pub(super) fn progressive(&self, restart_interval: u16) -> Vec<u8> {
        let mut file = self.header(0xc2);
        file.segment(0xdd, &restart_interval.to_be_bytes());
        let all: Vec<_> = (0..self.components.len()).collect();
        self.scan(
            &mut file,
            &all,
            [0, 0, 1],
            restart_interval,
            &mut |bits, block, dc| {
                bits.number(0, i32::from(block[0] >> 1) - i32::from(*dc >> 1));
                *dc = block[0];
            },
        );
        for one in all.chunks(1) {
            for [first, last] in [[1, 5], [6, 63]] {
                self.scan(
                    &mut file,
                    one,
                    [first, last, 2],
                    restart_interval,
                    &mut |bits, block, _| {
                        ac_first(bits, block, first, last, 2);
                    },
                );
            }
        }
        self.scan(
            &mut file,
            &all,
            [0, 0, 0x10],
            restart_interval,
            &mut |bits, block, _| {
                bits.put(1, (block[0] & 1) as u32);
            },
        );
        for low in [1, 0] {
            for one in all.chunks(1) {
                let band = [1, 63, (low + 1) << 4 | low];
                self.scan(
                    &mut file,
                    one,
                    band,
                    restart_interval,
                    &mut |bits, block, _| {
                        ac_refinement(bits, block, low);
                    },
                );
            }
        }
        file.finish()
    }

    fn scan(
        &self,
        file: &mut File,
        which: &[usize],
        [first, last, bits]: [u8; 3],
        restart_interval: u16,
        code: &mut dyn FnMut(&mut Bits, &[i16; 64], &mut i16),
    ) {
        let mut header = vec![which.len() as u8];
        header.extend(which.iter().flat_map(|&id| [id as u8, 0]));
        header.extend([first, last, bits]);
        file.segment(0xda, &header);
        let mut bits = Bits::default();
        let mut predictors = [0; 4];
        for (number, mcu) in self.mcus(which).iter().enumerate() {
            let interval = usize::from(restart_interval);
            if interval > 0 && number > 0 && number % interval == 0 {
                file.0.extend(std::mem::take(&mut bits).finish());
                file.0
                    .extend([0xff, 0xd0 + (number / interval - 1) as u8 % 8]);
                predictors = [0; 4];
            }
            for &(component, block) in mcu {
                code(&mut bits, block, &mut predictors[component]);
            }
        }
        file.0.extend(bits.finish());
    }

    /// The blocks of each MCU of a scan.
    fn mcus(&self, which: &[usize]) -> Vec<Vec<(usize, &[i16; 64])>> {
        let most = |f: fn(&Component) -> u8| self.components.iter().map(f).max().unwrap();
        let (most_h, most_v) = (most(|c| c.factors.0), most(|c| c.factors.1));
        let own = |length: u16, factor: u8, most: u8| {
            let samples = (usize::from(length) * usize::from(factor)).div_ceil(usize::from(most));
            samples.div_ceil(8)
        };
        let mut mcus = Vec::new();
        if let [only] = *which {
            let component = &self.components[only];
            let columns = own(self.width, component.factors.0, most_h);
            let rows = own(self.height, component.factors.1, most_v);
            for row in component.blocks.chunks(component.columns).take(rows) {
                mcus.extend(row[..columns].iter().map(|block| vec![(only, block)]));
            }
            return mcus;
        }
        let first = &self.components[0];
        let across = first.columns / usize::from(first.factors.0);
        let down = first.blocks.len() / first.columns / usize::from(first.factors.1);
        for (row, column) in (0..down).flat_map(|row| (0..across).map(move |column| (row, column)))
        {
            let blocks = which.iter().flat_map(|&index| {
                let component = &self.components[index];
                let (h, v) = (
                    usize::from(component.factors.0),
                    usize::from(component.factors.1),
                );
                (0..h * v).map(move |i| {
                    let at = (row * v + i / h) * component.columns + column * h + i % h;
                    (index, &component.blocks[at])
                })
            });
            mcus.push(blocks.collect());
        }
        mcus
    }
}

fn ac_first(bits: &mut Bits, block: &[i16; 64], first: u8, last: u8, low: u8) {
    let mut run = 0;
    for &coefficient in &block[usize::from(first)..=usize::from(last)] {
        // Towards zero, whatever its sign.
        let number = i32::from(coefficient.signum() * (coefficient.abs() >> low));
        if number == 0 {
            run += 1;
            continue;
        }
        bits.end_run();
        while run > 15 {
            bits.put_symbol(0xf0);
            run -= 16;
        }
        bits.number(run, number);
        run = 0;
    }
    bits.empty += u32::from(run > 0);
}

fn ac_refinement(bits: &mut Bits, block: &[i16; 64], low: u8) {
    let level = |k: usize| block[k].unsigned_abs() >> low;
    let last_new = (1..64).rev().find(|&k| level(k) == 1).unwrap_or(0);
    let (mut run, mut corrections) = (0, Vec::new());
    for (k, &coefficient) in block.iter().enumerate().skip(1) {
        if level(k) == 0 {
            run += 1;
            continue;
        }
        while run > 15 && k <= last_new {
            bits.end_run();
            bits.put_symbol(0xf0);
            corrections.drain(..).for_each(|bit| bits.put(1, bit));
            run -= 16;
        }
        if level(k) > 1 {
            corrections.push(u32::from(level(k) & 1));
            continue;
        }
        bits.end_run();
        bits.put_symbol(run << 4 | 1);
        bits.put(1, u32::from(coefficient > 0));
        corrections.drain(..).for_each(|bit| bits.put(1, bit));
        run = 0;
    }
    if run > 0 || !corrections.is_empty() {
        bits.empty += 1;
        bits.corrections.extend(corrections);
    }
}

/// Entropy-coded data.
#[derive(Default)]
struct Bits {
    all: Vec<bool>,
    /// Blocks that end here, not written yet, and the corrections in them.
    empty: u32,
    corrections: Vec<u32>,
}

impl Bits {
    fn put(&mut self, count: u32, value: u32) {
        let bits = (0..count).rev().map(|bit| value >> bit & 1 == 1);
        self.all.extend(bits);
    }

    fn put_symbol(&mut self, symbol: u8) {
        match symbol {
            0..240 => self.put(8, u32::from(symbol)),
            // The codes of 16 bits follow on those of 8.
            240.. => self.put(16, 240 << 8 | u32::from(symbol - 240)),
        }
    }

    fn number(&mut self, run: u8, number: i32) {
        let size = 32 - number.unsigned_abs().leading_zeros();
        self.put_symbol(run << 4 | size as u8);
        let value = if number < 0 { number - 1 } else { number };
        self.put(size, value as u32);
    }

    /// Writes the symbol for the blocks that end here.
    fn end_run(&mut self) {
        if self.empty > 0 {
            let size = self.empty.ilog2();
            self.put_symbol((size as u8) << 4);
            self.put(size, self.empty);
            for bit in std::mem::take(&mut self.corrections) {
                self.put(1, bit);
            }
            self.empty = 0;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.end_run();
        let mut bytes = Vec::new();
        for bits in self.all.chunks(8) {
            let ones = std::iter::repeat(&true);
            let byte = bits.iter().chain(ones).take(8);
            let byte = byte.fold(0, |byte, &bit| byte << 1 | u8::from(bit));
            bytes.push(byte);
            if byte == 0xff {
                bytes.push(0);
            }
        }
        bytes
    }
}

struct File(Vec<u8>);

impl File {
    fn segment(&mut self, code: u8, body: &[u8]) {
        self.0.extend([0xff, code]);
        self.0.extend((body.len() as u16 + 2).to_be_bytes());
        self.0.extend(body);
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.extend([0xff, 0xd9]);
        self.0
    }
}
