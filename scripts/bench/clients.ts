/** The clients from outside that workloads need, as far as this machine has them. */
import type { Workload } from './workloads.ts'
import type { Workspace } from './workspace.ts'

/** @returns why the workload cannot be run here, or null if it can */
export async function whyImpossible(
  workspace: Workspace,
  workload: Workload,
): Promise<string | null> {
  if (workload.client === 'load') return null
  try {
    if (workload.client === 'nbdcopy') {
      await workspace.run('nbdcopy', ['--version'])
      return null
    }
    const options = await workspace.run('fio', ['--enghelp=nbd'])
    return options.includes('uri') ? null : 'this fio has no nbd engine.'
  } catch {
    return `${workload.client} is not installed.`
  }
}
