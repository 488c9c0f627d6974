"""What an audit says of the labels, in sentences: for the terminal and for the report."""

from __future__ import annotations

from tlcli.runs.label_audit_record import LabelAuditRecord
from tlcli.system.console import counted


def judge_labels(record: LabelAuditRecord) -> list[str]:
    """How many labels are wrong, and how many of the suspects are false alarms."""
    surest, (low, high) = record.surest, record.wrong_interval
    disagree = f"{surest.disagree:,} of the {surest.photos:,} labels that the classifier is surest "
    disagree += f"about {'contradicts' if surest.disagree == 1 else 'contradict'} it"
    if not surest.disagree:
        lines = [f"the labels look right: {disagree}"]
    elif record.looks_right:
        lines = [f"few labels are wrong, or none (0 to {high:,}): {disagree}"]
    else:
        lines = [f"about {record.wrong:,} labels are wrong ({low:,} to {high:,}): {disagree}"]
    if record.suspects:
        alarms = f"expect about {record.false_alarms:,} of them to be false alarms "
        alarms += "({:,} to {:,})".format(*record.alarms_interval)
        lines.append(f"{counted(len(record.suspects), 'suspect')}; {alarms}")
    else:
        lines.append("no suspect")
    if record.decided:
        lines.append(f"{record.decided:,} more are not listed: a person has decided about them")
    return lines
