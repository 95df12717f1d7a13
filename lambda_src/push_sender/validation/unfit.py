def unfit(request, recipients, positions):
    return {}
