/** Makes new texts of known ones: lines and pieces are moved, numbers changed, oddities put in. */
import type { Random } from '../helpers/random.ts'

const MUTATIONS_MAX = 5
const WORDS =
  '0 -1 1e3 0x10 4095 4096 65536 1M 64KiB 3P 99999999999P 9007199254740992 9007199254740991 ' +
  '18446744073709551616 ٣ １ é 💾 # " \\ / .. [ ] [[ ]] = { } true nan inf """ C:\\d ' +
  "\\\\host\\share \\u0000 __proto__ constructor toString 1979-05-27 ' '''"

/** The rest are characters that are hard to see. */
const ODD = [...WORDS.split(' '), '', ' ', '\t', '\r', '\r\n', '\n\n', '1 M', 'x'.repeat(5000)]
for (const code of [0, 0xfeff, 0x2028]) ODD.push(String.fromCharCode(code))

export class TextMutator {
  readonly #random: Random
  readonly #texts: readonly string[]

  constructor(random: Random, texts: readonly string[]) {
    this.#random = random
    this.#texts = texts
  }

  next(): string {
    let text = this.#random.pick(this.#texts)
    for (let left = this.#random.between(0, MUTATIONS_MAX); left > 0; left--)
      text = this.#random.chance(0.5) ? this.#inLines(text) : this.#inCharacters(text)
    return text
  }

  #inLines(text: string): string {
    const random = this.#random
    const lines = text.split('\n')
    const at = random.between(0, lines.length - 1)
    switch (random.between(0, 4)) {
      case 0:
        lines.splice(at, random.between(1, 2))
        break
      case 1:
        lines.splice(at, 0, ...lines.slice(at, at + random.between(1, 3)))
        break
      case 2:
        lines.splice(random.between(0, lines.length), 0, ...lines.splice(at, 1))
        break
      case 3:
        lines.splice(at, 0, random.pick(random.pick(this.#texts).split('\n')))
        break
      default:
        lines[at] = random.pick(ODD)
    }
    return lines.join('\n')
  }

  #inCharacters(text: string): string {
    const random = this.#random
    const at = random.between(0, text.length)
    const [before, after] = [text.slice(0, at), text.slice(at)]
    switch (random.between(0, 4)) {
      case 0:
        return before + after.slice(random.between(1, 4))
      case 1:
        return before + random.pick(ODD) + after
      case 2:
        return before + after.replace(/\d+/, () => random.pick(ODD))
      case 3:
        return before + String.fromCharCode(random.between(0, 255)) + after.slice(1)
      default:
        return before
    }
  }
}
