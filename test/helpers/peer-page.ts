/** The page with the answers of all servers: scripts/peer-matrix.ts writes it, a test reads it. */
import type { Question } from './peer-asking.ts'

export interface Column {
  readonly name: string
  /** By title of the question. */
  readonly answers: ReadonlyMap<string, string>
}

const HEAD = `# What four servers answer

Written by \`npm run peers\`, which asks all of them. Every question has a connection of its own and
a wait of 4 s. Unless something else is said (\`then\`) the connection goes on and is of use after
the answer. What is different and why is told in
[protocol.md](protocol.md#where-other-servers-answer-differently).

`

export function page(questions: readonly Question[], columns: readonly Column[]): string {
  const rows = questions.map(({ title }) => [
    title,
    ...columns.map(({ answers }) => answers.get(title) ?? ''),
  ])
  const head = ['question', ...columns.map(({ name }) => name)]
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`)
  return `${HEAD}${lines.join('\n')}\n`
}

/** @returns the cells of each row of a table, without its head, in a page of Markdown */
export function rowsOf(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
}
