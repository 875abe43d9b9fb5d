"""torchvision's Mask R-CNN: the network of maskrcnn_resnet50_fpn, from its own parts."""

import torch
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone


def make_step(config, rate):
    """step(batch) -> loss.  batch: see benchmarks.object_detection.for_peer."""
    # What maskrcnn_resnet50_fpn makes of pretrained weights: frozen norms, C3 to C5 trained.
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=3)
    for name in ("layer1", "layer2", "layer3", "layer4"):
        for block in backbone.body[name]:
            block.bn3.weight.fill_(config.branch_scale)
            # The stride on the first 1x1, as ours: less to compute than torchvision's own place.
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
    # The picture comes resized, as ours: the peer only pads it.
    model = MaskRCNN(backbone, config.num_classes + 1, _skip_resize=True).to(config.device)
    model.train()
    parameters = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.SGD(parameters, rate, config.momentum, weight_decay=1e-4)
    forward = torch.compile(model) if config.compile else model

    def step(batch):
        optimizer.zero_grad()
        images, targets = [], []
        for picture in batch:
            tensors = {name: torch.from_numpy(a).to(config.device) for name, a in picture.items()}
            images.append(tensors.pop("image").permute(2, 0, 1).float() / 255.0)
            targets.append(tensors)
        with torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bf16"):
            loss = sum(forward(images, targets).values())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
