/**
 * Who pays for tunnels: what is shared by all of a process is shared out to
 * clients, so that one cannot use up what the others need.
 *
 * @module
 */
import {
  type Budget,
  BudgetShare,
  MemoryBudget,
} from "../tunnel/memory_budget.ts";

/** What a tunnel holds counts here. */
export interface Budgets {
  /** Memory for bytes sent and not acknowledged. */
  readonly sendBudget: Budget;
  /** Memory for bytes received and not written. */
  readonly receiveBudget: Budget;
}

/** The tunnels of one payer, and what they hold. */
interface Account extends Budgets {
  readonly sendBudget: BudgetShare;
  readonly receiveBudget: BudgetShare;
  tunnels: number;
}

/** The memory of a process, and the accounts of those whose tunnels are open. */
export class Payers {
  readonly #whole: {
    readonly sendBudget: MemoryBudget;
    readonly receiveBudget: MemoryBudget;
  };
  readonly #accounts = new Map<string, Account>();

  /** Nobody has tunnels; they may hold `memoryBudget` bytes for each direction. */
  constructor(memoryBudget: number) {
    this.#whole = {
      sendBudget: new MemoryBudget(memoryBudget),
      receiveBudget: new MemoryBudget(memoryBudget),
    };
  }

  /** Bytes held by all tunnels. */
  get held(): { send: number; receive: number } {
    const { sendBudget, receiveBudget } = this.#whole;
    return { send: sendBudget.used, receive: receiveBudget.used };
  }

  /** Tunnels of this payer. */
  tunnelsOf(payer: string): number {
    return this.#accounts.get(payer)?.tunnels ?? 0;
  }

  /** One more tunnel of this payer: what it counts in. Without a payer that is the whole. */
  open(payer: string | undefined): Budgets {
    if (payer === undefined) return this.#whole;
    let account = this.#accounts.get(payer);
    if (account === undefined) {
      const { sendBudget, receiveBudget } = this.#whole;
      account = {
        sendBudget: new BudgetShare(sendBudget),
        receiveBudget: new BudgetShare(receiveBudget),
        tunnels: 0,
      };
      this.#accounts.set(payer, account);
    }
    account.tunnels++;
    const { sendBudget, receiveBudget } = account;
    return { sendBudget, receiveBudget };
  }

  /** A tunnel of this payer has ended, and holds nothing any more. */
  close(payer: string | undefined): void {
    const account = payer === undefined ? undefined : this.#accounts.get(payer);
    if (account === undefined || payer === undefined) return;
    if (--account.tunnels > 0) return;
    this.#accounts.delete(payer);
    account.sendBudget[Symbol.dispose]();
    account.receiveBudget[Symbol.dispose]();
  }
}
