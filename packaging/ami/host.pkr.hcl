# AMIs of hosts for CodeDeploy and balehook: Amazon Linux 2023, Ubuntu 24.04 and Debian 12, for x86-64 and ARM.
#   packer init packaging/ami
#   packer build -var region=eu-west-1 -only='*.al2023-arm64' packaging/ami
# No secrets: Packer takes its AWS credentials from the environment, and the instance that it builds on has no role.

packer {
  required_version = ">= 1.8.0"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3.0"
    }
  }
}

variable "region" {
  type        = string
  default     = "eu-west-1"
  description = "Where the AMI is built, and whose bucket the CodeDeploy agent comes from."
}

variable "packages" {
  type        = string
  default     = "target/dist"
  description = "The folder of `make dist`, from where Packer is started."
}

variable "agent" {
  type        = string
  default     = "2"
  description = "The CodeDeploy agent: 2, 1 (version 1.8, with Ruby), or none."
}

variable "ecr_registries" {
  type        = string
  default     = ""
  description = "Hosts, with spaces between, that docker-credential-ecr-login is configured for. Empty: the building account's registry."
}

variable "ami_prefix" {
  type    = string
  default = "balehook"
}

variable "ami_users" {
  type        = list(string)
  default     = []
  description = "Accounts that may use the AMI. The key must be one of your own then: AWS's own cannot be shared."
}

variable "kms_key_id" {
  type        = string
  default     = "alias/aws/ebs"
  description = "The key that encrypts the root volume."
}

variable "volume_size" {
  type        = number
  default     = 20
  description = "GiB of the root volume, where the images are, too."
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "Where the instance is built. Empty: the default VPC."
}

variable "instance_type" {
  type = map(string)
  default = {
    x86_64 = "t3.small"
    arm64  = "t4g.small"
  }
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Tags of the AMI and of its snapshots, beside those below."
}

locals {
  tags = merge({
    Name    = "${var.ami_prefix}-{{ build_name }}"
    Base    = "{{ .SourceAMIName }}"
    BaseAMI = "{{ .SourceAMI }}"
    BuiltBy = "packer"
  }, var.tags)
  during = {
    Name    = "packer: ${var.ami_prefix}-{{ build_name }}"
    BuiltBy = "packer"
  }
}

source "amazon-ebs" "host" {
  region          = var.region
  subnet_id       = var.subnet_id
  ami_name        = "${var.ami_prefix}-{{ build_name }}-{{ timestamp }}"
  ami_description = "Docker, Compose 2, the CodeDeploy agent and balehook"
  ami_users       = var.ami_users
  tags            = local.tags
  snapshot_tags   = local.tags
  run_tags        = local.during
  run_volume_tags = local.during
  ena_support     = true

  # IMDSv2 alone, here and on every instance of the AMI. With one hop, containers on a bridge cannot have the host's role.
  # An instance gets two hops from imds_support: set one in its launch template.
  imds_support = "v2.0"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
}

build {
  source "amazon-ebs.host" {
    name          = "al2023-x86_64"
    instance_type = var.instance_type["x86_64"]
    ssh_username  = "ec2-user"
    source_ami_filter {
      owners      = ["137112412989"] # Amazon
      most_recent = true
      filters     = { name = "al2023-ami-2023.*-kernel-*-x86_64", root-device-type = "ebs" }
    }
    launch_block_device_mappings {
      device_name           = "/dev/xvda"
      encrypted             = true
      kms_key_id            = var.kms_key_id
      volume_type           = "gp3"
      volume_size           = var.volume_size
      iops                  = 3000
      throughput            = 125
      delete_on_termination = true
    }
  }

  source "amazon-ebs.host" {
    name          = "al2023-arm64"
    instance_type = var.instance_type["arm64"]
    ssh_username  = "ec2-user"
    source_ami_filter {
      owners      = ["137112412989"]
      most_recent = true
      filters     = { name = "al2023-ami-2023.*-kernel-*-arm64", root-device-type = "ebs" }
    }
    launch_block_device_mappings {
      device_name           = "/dev/xvda"
      encrypted             = true
      kms_key_id            = var.kms_key_id
      volume_type           = "gp3"
      volume_size           = var.volume_size
      iops                  = 3000
      throughput            = 125
      delete_on_termination = true
    }
  }

  source "amazon-ebs.host" {
    name          = "ubuntu-24.04-x86_64"
    instance_type = var.instance_type["x86_64"]
    ssh_username  = "ubuntu"
    source_ami_filter {
      owners      = ["099720109477"] # Canonical
      most_recent = true
      filters     = { name = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*", root-device-type = "ebs" }
    }
    launch_block_device_mappings {
      device_name           = "/dev/sda1"
      encrypted             = true
      kms_key_id            = var.kms_key_id
      volume_type           = "gp3"
      volume_size           = var.volume_size
      iops                  = 3000
      throughput            = 125
      delete_on_termination = true
    }
  }

  source "amazon-ebs.host" {
    name          = "ubuntu-24.04-arm64"
    instance_type = var.instance_type["arm64"]
    ssh_username  = "ubuntu"
    source_ami_filter {
      owners      = ["099720109477"]
      most_recent = true
      filters     = { name = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-*", root-device-type = "ebs" }
    }
    launch_block_device_mappings {
      device_name           = "/dev/sda1"
      encrypted             = true
      kms_key_id            = var.kms_key_id
      volume_type           = "gp3"
      volume_size           = var.volume_size
      iops                  = 3000
      throughput            = 125
      delete_on_termination = true
    }
  }

  source "amazon-ebs.host" {
    name          = "debian-12-x86_64"
    instance_type = var.instance_type["x86_64"]
    ssh_username  = "admin"
    source_ami_filter {
      owners      = ["136693071363"] # Debian
      most_recent = true
      filters     = { name = "debian-12-amd64-*", root-device-type = "ebs" }
    }
    launch_block_device_mappings {
      device_name           = "/dev/xvda"
      encrypted             = true
      kms_key_id            = var.kms_key_id
      volume_type           = "gp3"
      volume_size           = var.volume_size
      iops                  = 3000
      throughput            = 125
      delete_on_termination = true
    }
  }

  source "amazon-ebs.host" {
    name          = "debian-12-arm64"
    instance_type = var.instance_type["arm64"]
    ssh_username  = "admin"
    source_ami_filter {
      owners      = ["136693071363"]
      most_recent = true
      filters     = { name = "debian-12-arm64-*", root-device-type = "ebs" }
    }
    launch_block_device_mappings {
      device_name           = "/dev/xvda"
      encrypted             = true
      kms_key_id            = var.kms_key_id
      volume_type           = "gp3"
      volume_size           = var.volume_size
      iops                  = 3000
      throughput            = 125
      delete_on_termination = true
    }
  }

  # The instance's own first start is over then: it holds the package manager's lock.
  provisioner "shell" {
    inline = ["sudo cloud-init status --wait || true", "mkdir -p /tmp/balehook"]
  }

  provisioner "file" {
    source      = "${var.packages}/"
    destination = "/tmp/balehook/"
  }

  provisioner "shell" {
    script          = "${path.root}/provision"
    execute_command = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
    environment_vars = [
      "AMI=yes",
      "AWS_REGION=${var.region}",
      "BALEHOOK_FROM=/tmp/balehook",
      "AGENT=${var.agent}",
      "ECR_REGISTRIES=${var.ecr_registries}",
    ]
  }

  provisioner "shell" {
    script          = "${path.root}/clean"
    execute_command = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
  }
}
